/** The scrub reads stored blobs in rotation, within its budget, and records which are lost or wrong. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { faulty } from '../../support/faults.ts';
import { bytesOf, pushBlob, REPOSITORY } from '../../support/fixture.ts';
import type { Hosts } from '../../support/hosts.ts';
import {
  at,
  contextOf,
  counterAt,
  DATABASES,
  DAY,
  errorLines,
  keyAt,
  locationAt,
  lose,
  openHostsNow,
  spoil,
} from '../../support/objects.ts';
import { scrub } from '../../support/maintenance.ts';

const PLENTY = 1e12;
/** More than the least that an object costs. */
const SIZE = 600_000;

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHostsNow();
});

afterEach(() => void vi.restoreAllMocks());

async function pushed(count: number, size = SIZE): Promise<Digest[]> {
  const digests: Digest[] = [];
  for (let i = 0; i < count; i++) digests.push(await pushBlob(at(hosts.central), bytesOf(i + 1, size)));
  return digests.toSorted();
}

function task(): Promise<{
  position: string;
  next_at: number;
  round_ended_at: number | null;
  stopped: string | null;
} | null> {
  return DATABASES.central.prepare("SELECT * FROM maintenance_tasks WHERE task = 'scrub'").first();
}

describe('the scrub', () => {
  test('finds no damage in sound blobs, of either algorithm or empty', async () => {
    await pushed(2, 100);
    await pushBlob(at(hosts.central), bytesOf(9, 0));
    await pushBlob(at(hosts.central), bytesOf(10, 50), REPOSITORY, 'sha512');
    const context = contextOf(hosts);
    await scrub(context, context.central, PLENTY);
    expect(await counterAt('central', 'scrubbed_objects')).toBe(4);
    expect(await counterAt('central', 'scrubbed_bytes')).toBe(250);
    expect(await counterAt('central', 'damaged_found')).toBe(0);
    expect(await task()).toMatchObject({ position: '', round_ended_at: hosts.now, stopped: null });
  });

  test.each([
    ['lost', lose, 'missing'],
    ['wrong', spoil, 'wrong bytes'],
  ] as const)('marks the location of an object that is %s as damaged, and logs it', async (_what, damage, problem) => {
    const [first, second] = (await pushed(2)) as [Digest, Digest];
    const key = await keyAt('central', second);
    await damage('central', second);
    const lines = errorLines();
    const context = contextOf(hosts);
    await scrub(context, context.central, PLENTY);
    expect(await locationAt('central', first)).toMatchObject({ damage: null });
    expect(await locationAt('central', second)).toEqual({ key, damage: problem });
    expect(lines).toContainEqual({ damaged: second, store: 'central', key, problem });
    expect(await counterAt('central', 'damaged_found')).toBe(1);
    // The next round does not count known damage again.
    hosts.now += DAY;
    await scrub(context, context.central, PLENTY);
    expect(await counterAt('central', 'damaged_found')).toBe(1);
  });

  test.each(['sha256:ff 2', 'sha256:ff', '{}', '7'])(
    'starts from the first blob if the position is %s',
    async (position) => {
      await pushed(2, 100);
      await DATABASES.central
        .prepare(
          `INSERT INTO maintenance_tasks (task, position, round_started_at, last_slice_at, next_at, slices)
         VALUES ('scrub', ?1, 0, 0, 0, 1)`,
        )
        .bind(position)
        .run();
      const context = contextOf(hosts);
      await scrub(context, context.central, PLENTY);
      expect(await counterAt('central', 'scrubbed_objects')).toBe(2);
      expect(await task()).toMatchObject({ position: '', stopped: null });
    },
  );

  test("marks central's row of a node's damaged location as well", async () => {
    const digest = await pushBlob(at(hosts.node1), bytesOf(1, 100));
    const key = await keyAt('node1', digest);
    const announced =
      'INSERT INTO locations (digest, store, key, size, created_at, lease_until) VALUES (?1, ?2, ?3, 100, 0, 0)';
    await DATABASES.central.prepare(announced).bind(digest, 'node1', key).run();
    await spoil('node1', digest);
    const context = contextOf(hosts);
    await scrub(context, context.nodes[0]!, PLENTY);
    expect(await locationAt('node1', digest)).toMatchObject({ damage: 'wrong bytes' });
    expect(await locationAt('central', digest, 'node1')).toMatchObject({ damage: 'wrong bytes' });
  });
});

describe('the budget', () => {
  // Two hours' worth at the start, and then one object every six hours.
  const BUDGET = 4 * SIZE;

  test('is kept over days, overdrawn by one object at most, and blobs take turns', async () => {
    await pushed(6);
    const context = contextOf(hosts);
    const seen: number[] = [];
    for (let hour = 0; hour < 48; hour++) {
      await scrub(context, context.central, BUDGET);
      seen.push(await counterAt('central', 'scrubbed_bytes'));
      hosts.now += 3_600_000;
    }
    expect(seen[0]).toBe(SIZE);
    for (const [hour, bytes] of seen.entries()) {
      expect(bytes).toBeLessThanOrEqual(SIZE + (BUDGET * (hour + 2)) / 24);
      expect(bytes).toBeGreaterThanOrEqual((BUDGET * hour) / 24 - SIZE);
    }
    expect(seen.at(-1)).toBeGreaterThan(6 * SIZE);
  });

  test('of zero reads nothing', async () => {
    await pushed(1);
    const context = contextOf(hosts);
    await scrub(context, context.central, 0);
    expect(await task()).toBeNull();
  });

  test('is not saved up while no run uses it', async () => {
    await pushed(6);
    const context = contextOf(hosts);
    await scrub(context, context.central, BUDGET);
    hosts.now += 5 * DAY;
    await scrub(context, context.central, BUDGET);
    expect(await counterAt('central', 'scrubbed_bytes')).toBe(2 * SIZE);
  });

  test('lets a round begin at most once a day, however small the store is', async () => {
    await pushed(1);
    const context = contextOf(hosts);
    for (let hour = 0; hour < 49; hour++) {
      await scrub(context, context.central, PLENTY);
      hosts.now += 3_600_000;
    }
    expect(await counterAt('central', 'scrubbed_objects')).toBe(3);
  });
});

describe('a scrub that is stopped', () => {
  test('by the time limit goes on where it was', async () => {
    await pushed(5);
    let left = 0;
    const context = contextOf(hosts, env, { mayGoOn: () => left-- > 0 });
    for (let i = 0; i < 4; i++) {
      left = 3;
      await scrub(context, context.central, PLENTY);
    }
    expect(await counterAt('central', 'scrubbed_objects')).toBe(5);
    expect(await task()).toMatchObject({ position: '' });
  });

  test('by an unreadable object tries it again, then skips it without marking it as damaged', async () => {
    const [first, second] = (await pushed(2)) as [Digest, Digest];
    const key = await keyAt('central', first);
    const broken = faulty(env, ({ kind, keys }) => (kind === 'get' && keys.includes(key) ? { breakAt: 0.5 } : 'ok'));
    const lines = errorLines();
    const context = contextOf(hosts, broken);
    await scrub(context, context.central, PLENTY);
    expect((await task())?.stopped).toContain(first);
    for (let i = 0; i < 3; i++) await scrub(context, context.central, PLENTY);
    expect(lines).toContainEqual({ unscrubbed: first, store: 'central', key, attempts: 3 });
    for (const digest of [first, second]) expect(await locationAt('central', digest)).toMatchObject({ damage: null });
    expect(await counterAt('central', 'scrubbed_objects')).toBe(1);
    expect(await counterAt('central', 'scrub_skipped')).toBe(1);
  });
});
