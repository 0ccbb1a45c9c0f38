/** The search for lost blobs begins again after each comparison that its last whole round may not have seen. */
import { beforeEach, expect, test } from 'vitest';
import { MINUTE } from '../../../src/durations.ts';
import { contextOf, rowsAt } from '../../support/collecting.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';
import { findWanted } from '../../support/maintenance.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

const save = (task: string, startedAt: number, endedAt: number | null) =>
  rowsAt(
    'central',
    `INSERT INTO maintenance_tasks (task, position, round_started_at, round_ended_at, last_slice_at, next_at, slices)
     VALUES (?1, '', ?2, ?3, ?2, 0, 1)`,
    task,
    startedAt,
    endedAt,
  );

test.each([
  ['began after the comparison ended', -5, -4, false],
  ['ended before the comparison did', -20, -15, true],
  ['was under way when the comparison ended', -20, -5, true],
  ['was not finished', -5, -20, true],
  ['never ended', -5, null, true],
  ['began in the future, by a clock that was set back since', 0.5, 0.5, true],
])('if its last round %s (minutes %s to %s), a new round begins: %s', async (_when, startedAt, endedAt, begins) => {
  const { now } = hosts;
  await save('comparison', now - 30 * MINUTE, now - 10 * MINUTE);
  await save('wanted', now + startedAt * MINUTE, endedAt === null ? null : now + endedAt * MINUTE);
  await findWanted(contextOf(hosts));
  const rows = await rowsAt(
    'central',
    "SELECT round_started_at, round_ended_at FROM maintenance_tasks WHERE task = 'wanted'",
  );
  if (begins) expect(rows).toEqual([{ round_started_at: now, round_ended_at: now }]);
  else expect(rows).toEqual([{ round_started_at: now - 5 * MINUTE, round_ended_at: now - 4 * MINUTE }]);
});
