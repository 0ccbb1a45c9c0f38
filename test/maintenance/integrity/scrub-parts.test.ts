/** The scrub reads a large object in parts, over several runs, and keeps the state of its hash between them. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { MaintenanceContext } from '../../../src/maintenance/context.ts';
import { HashingAllowance, LEAST_COST } from '../../../src/maintenance/integrity/hashing-allowance.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { faulty } from '../../support/faults.ts';
import { bytesOf, pushBlob, REPOSITORY } from '../../support/fixture.ts';
import type { Hosts } from '../../support/hosts.ts';
import {
  at,
  BUCKETS,
  contextOf,
  counterAt,
  DATABASES,
  errorLines,
  keyAt,
  locationAt,
  lose,
  openHostsNow,
  spoil,
} from '../../support/objects.ts';
import { scrub } from '../../support/maintenance.ts';

const PLENTY = 1e15;
const PART = 100_000;
const PARTS = 4;
const SIZE = PARTS * PART - 1;

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHostsNow();
});

afterEach(() => void vi.restoreAllMocks());

/** Returns the context of a run that reads `parts` parts. */
function runOf(parts: number, bindings: object = env): MaintenanceContext {
  return contextOf(hosts, bindings, { hashing: new HashingAllowance(PART, parts * LEAST_COST) });
}

async function scrubParts(parts: number, bindings?: object): Promise<void> {
  const context = runOf(parts, bindings);
  await scrub(context, context.central, PLENTY);
}

const push = (seed: number, size = SIZE, algorithm: 'sha256' | 'sha512' = 'sha256'): Promise<Digest> =>
  pushBlob(at(hosts.central), bytesOf(seed, size), REPOSITORY, algorithm);

async function offset(): Promise<number | undefined> {
  const position = await DATABASES.central
    .prepare("SELECT position FROM maintenance_tasks WHERE task = 'scrub'")
    .first<string>('position');
  if (position === null || position === '') return undefined;
  return (JSON.parse(position) as { reading?: { offset: number } }).reading?.offset;
}

// A part of an object with a sha512 digest takes twice as much of the allowance.
describe.each([
  ['sha256', 1],
  ['sha512', 2],
] as const)('a large object with a %s digest', (algorithm, cost) => {
  test('is verified over several runs, a part in each', async () => {
    const digest = await push(1, SIZE, algorithm);
    for (let part = 1; part < PARTS; part++) {
      await scrubParts(cost);
      expect(await offset()).toBe(part * PART);
      expect(await counterAt('central', 'scrubbed_objects')).toBe(0);
    }
    await scrubParts(cost);
    expect(await counterAt('central', 'scrubbed_objects')).toBe(1);
    expect(await counterAt('central', 'scrubbed_bytes')).toBe(SIZE);
    expect(await locationAt('central', digest)).toMatchObject({ damage: null });
  });

  test('is damaged if two readings give bytes of another digest', async () => {
    const digest = await push(1, SIZE, algorithm);
    const key = await keyAt('central', digest);
    await spoil('central', digest);
    const lines = errorLines();
    await scrubParts(cost * PARTS);
    expect(await locationAt('central', digest)).toMatchObject({ damage: null });
    await scrubParts(cost * (PARTS - 1));
    expect(await locationAt('central', digest)).toMatchObject({ damage: null });
    await scrubParts(cost);
    expect(await locationAt('central', digest)).toEqual({ key, damage: 'wrong bytes' });
    expect(lines).toContainEqual({ damaged: digest, store: 'central', key, problem: 'wrong bytes' });
  });
});

describe('between two parts', () => {
  test('an object that is replaced is read from the start', async () => {
    const digest = await push(1);
    const key = await keyAt('central', digest);
    await spoil('central', digest);
    await scrubParts(2);
    // The object has its own bytes again, so the wrong ones that were hashed must not count.
    await BUCKETS.central.put(key, bytesOf(1, SIZE));
    await scrubParts(1);
    expect(await offset()).toBe(PART);
    await scrubParts(PARTS);
    expect(await locationAt('central', digest)).toMatchObject({ damage: null });
    expect(await counterAt('central', 'scrubbed_objects')).toBe(1);
    expect(await counterAt('central', 'damaged_found')).toBe(0);
  });

  test('an object that disappears is missing', async () => {
    const digest = await push(1);
    await scrubParts(2);
    await lose('central', digest);
    await scrubParts(1);
    expect(await locationAt('central', digest)).toMatchObject({ damage: 'missing' });
  });

  test('a location that names another object is read from the start', async () => {
    const digest = await push(1);
    await scrubParts(2);
    await BUCKETS.central.put('blobs/copy', bytesOf(1, SIZE));
    await DATABASES.central.prepare("UPDATE locations SET key = 'blobs/copy'").run();
    await scrubParts(1);
    expect(await offset()).toBe(PART);
    await scrubParts(PARTS);
    expect(await locationAt('central', digest)).toEqual({ key: 'blobs/copy', damage: null });
  });

  test('a push of a blob that comes before it in order does not interrupt it', async () => {
    const digests = await Promise.all([1, 2, 3, 4, 5].map((seed) => push(seed)));
    const [earliest = '', ...later] = digests.toSorted();
    await DATABASES.central.prepare('UPDATE locations SET store = ?2 WHERE digest = ?1').bind(earliest, 'away').run();
    await scrubParts(1);
    await DATABASES.central.prepare("UPDATE locations SET store = 'central'").run();
    await scrubParts(1);
    expect(await offset()).toBe(2 * PART);
    await scrubParts(later.length * PARTS);
    expect(await counterAt('central', 'scrubbed_objects')).toBe(later.length);
  });

  test('a part that cannot be read is tried again from where it began, and then skipped', async () => {
    const digest = await push(1);
    const key = await keyAt('central', digest);
    await scrubParts(1);
    const broken = faulty(env, ({ kind }) => (kind === 'get' ? { breakAt: 0.5 } : 'ok'));
    const lines = errorLines();
    for (let attempt = 0; attempt < 3; attempt++) {
      await scrubParts(1, broken);
      expect(await offset()).toBe(PART);
    }
    await scrubParts(1, broken);
    expect(lines).toContainEqual({ unscrubbed: digest, store: 'central', key, attempts: 3 });
    expect(await locationAt('central', digest)).toMatchObject({ damage: null });
    expect(await counterAt('central', 'scrub_skipped')).toBe(1);
  });

  test('a run that is killed loses one part, and a part that kills every run is skipped', async () => {
    const digest = await push(1);
    const lines = errorLines();
    await scrubParts(1);
    for (let attempt = 0; attempt < 3; attempt++) {
      let isKilled = false;
      const dying = faulty(env, ({ kind }) => {
        if (kind === 'get') isKilled = true;
        return isKilled && kind !== 'get' ? 'before' : 'ok';
      });
      await expect(scrubParts(1, dying)).rejects.toThrow();
      expect(await offset()).toBe(PART);
    }
    await scrubParts(1);
    expect(lines).toContainEqual(expect.objectContaining({ unscrubbed: digest, attempts: 3 }));
  });
});

test('a run that is killed among small objects keeps its progress up to the last whole one', async () => {
  const digests = (await Promise.all([1, 2, 3, 4, 5].map((seed) => push(seed, 10)))).toSorted();
  let reads = 0;
  const dying = faulty(env, ({ kind }) => {
    if (kind === 'get') reads++;
    return reads < 4 ? 'ok' : 'before';
  });
  await expect(scrubParts(5, dying)).rejects.toThrow();
  expect(await counterAt('central', 'scrubbed_objects')).toBe(3);
  const position = await DATABASES.central
    .prepare("SELECT position FROM maintenance_tasks WHERE task = 'scrub'")
    .first<string>('position');
  expect(JSON.parse(position ?? '')).toEqual({ after: digests[2], attempts: 0 });
});

test('a run hashes no more than its allowance, even of many small objects', async () => {
  for (let seed = 1; seed <= 5; seed++) await push(seed, 10);
  await scrubParts(3);
  expect(await counterAt('central', 'scrubbed_objects')).toBe(3);
  await scrubParts(3);
  expect(await counterAt('central', 'scrubbed_objects')).toBe(5);
});

test('a part costs its bytes, so that a large object is read over days', async () => {
  await push(1, 3 * LEAST_COST);
  const seen: number[] = [];
  for (let hour = 0; hour <= 12; hour++) {
    const context = contextOf(hosts, env, { hashing: new HashingAllowance(LEAST_COST) });
    await scrub(context, context.central, 4 * LEAST_COST);
    seen.push(await counterAt('central', 'scrubbed_bytes'));
    hosts.now += 3_600_000;
  }
  // One part every six hours, and two hours' worth at the start.
  expect(seen.map((bytes) => bytes / LEAST_COST)).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3]);
});
