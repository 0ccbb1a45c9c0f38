/**
 * The search for lost blobs begins again after each comparison that its last whole round may not have seen, and goes on
 * where it was interrupted.
 */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MINUTE } from '../../../src/durations.ts';
import { contextOf, rowsAt } from '../../support/collecting.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';
import { findWanted } from '../../support/maintenance.ts';
import { errorLines } from '../../support/objects.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

afterEach(() => void vi.restoreAllMocks());

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

test('a page with more lost blobs than one run can look for is finished by the next runs', async () => {
  const { now } = hosts;
  await save('comparison', now - 30 * MINUTE, now - 10 * MINUTE);
  const digests = ['sha256:1', 'sha256:2', 'sha256:3', 'sha256:4', 'sha256:5'];
  for (const digest of digests) {
    await rowsAt('central', "INSERT INTO links (repository, digest, created_at) VALUES ('alice/app', ?1, 0)", digest);
    const reference = "INSERT INTO manifest_references VALUES (?1, 'alice/app', 'layer', 'sha256:f', 9)";
    await rowsAt('central', reference, digest);
  }
  const lines = errorLines();
  for (let run = 0; run < 3; run++) {
    // One slice, in which there is time for two blobs.
    let asked = 0;
    await findWanted(contextOf(hosts, { mayGoOn: () => asked++ < 3 }));
  }
  expect(lines).toEqual([
    { lost: 2, digests: digests.slice(0, 2) },
    { lost: 2, digests: digests.slice(2, 4) },
    { lost: 1, digests: digests.slice(4) },
  ]);
});
