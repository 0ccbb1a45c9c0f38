/** The clock of a run, when the machine's clock is set back during the run. */
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { DAY, MINUTE } from '../../src/durations.ts';
import { RunClock } from '../../src/maintenance/run-clock.ts';
import { maintain } from '../../src/maintenance/schedule.ts';
import { rowsAt } from '../support/collecting.ts';
import { faulty } from '../support/faults.ts';

const AHEAD = 30 * DAY;

afterEach(() => vi.restoreAllMocks());

test('a pass keeps its own time and ends, and the next pass takes the new time', () => {
  const began = Date.now();
  const machine = vi.spyOn(Date, 'now').mockReturnValue(began);
  const clock = new RunClock(began);
  machine.mockReturnValue(began + 5000);
  expect([clock.now(), clock.isSetBack()]).toEqual([began + 5000, false]);
  machine.mockReturnValue(began + 4990);
  expect([clock.now(), clock.isSetBack()]).toEqual([began + 5000, false]);
  machine.mockReturnValue(began + 5000 - AHEAD);
  expect([clock.now(), clock.isSetBack()]).toEqual([began + 5000, true]);
  machine.mockReturnValue(began + 6000);
  expect(clock.isSetBack()).toBe(true);
  machine.mockReturnValue(began + 7000 - AHEAD);
  clock.beginPass();
  expect([clock.now(), clock.isSetBack()]).toEqual([began + 7000 - AHEAD, false]);
});

test('a clock that is set back in the first pass does not end the later passes', async () => {
  const machine = Date.now.bind(Date);
  let ahead = AHEAD;
  vi.spyOn(Date, 'now').mockImplementation(() => machine() + ahead);
  const setBackAtFirstCall = faulty(env, () => {
    ahead = 0;
    return 'ok';
  });
  const start = machine();
  await maintain(parseConfig(env), setBackAtFirstCall, start + AHEAD);
  const rows = await rowsAt<{ task: string; last_slice_at: number }>('central', 'SELECT * FROM maintenance_tasks');
  const later = rows.filter(({ task }) => ['collect', 'tombstones', 'comparison'].includes(task));
  expect(later.map(({ task }) => task).toSorted()).toEqual(['collect', 'comparison', 'tombstones']);
  expect(later.filter(({ last_slice_at: at }) => at > start + 10 * MINUTE)).toEqual([]);
});
