/** A repair that has to hash large objects does so in parts, over several runs, because hashing costs CPU. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { noteDamage } from '../../../src/maintenance/integrity/damage.ts';
import { HashingAllowance, LEAST_COST } from '../../../src/maintenance/integrity/hashing-allowance.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { bytesOf, pushBlob } from '../../support/fixture.ts';
import type { Hosts } from '../../support/hosts.ts';
import { repair } from '../../support/maintenance.ts';
import {
  at,
  BUCKETS,
  contextOf,
  DATABASES,
  errorLines,
  keyAt,
  locationAt,
  openHostsNow,
  read,
} from '../../support/objects.ts';

const PART = 100_000;
const CONTENT = bytesOf(3, 3 * PART + 1);

let hosts: Hosts;
let layer: Digest;
/** The bytes of objects that the runs have read. */
let bytesRead: number;

beforeEach(async () => {
  hosts = await openHostsNow();
  layer = await pushBlob(at(hosts.central), CONTENT);
  bytesRead = 0;
  errorLines();
});

afterEach(() => void vi.restoreAllMocks());

const BLOBS_CENTRAL = new Proxy(env.BLOBS_CENTRAL, {
  get: (bucket, name: keyof R2Bucket) =>
    name !== 'get'
      ? bucket[name].bind(bucket)
      : async (key: string, options: R2GetOptions) => {
          const { offset = 0, length = Infinity } = (options.range ?? {}) as { offset?: number; length?: number };
          bytesRead += Math.min(length, CONTENT.byteLength - offset);
          return bucket.get(key, options);
        },
});

/** Runs the repair of one minute, which may hash `parts` parts. */
async function repairParts(parts: number): Promise<void> {
  const hashing = new HashingAllowance(PART, parts * LEAST_COST);
  const context = contextOf(hosts, { ...env, BLOBS_CENTRAL }, { hashing, nodes: [] });
  await repair(context, context.central);
}

async function lost(key: string): Promise<void> {
  const context = contextOf(hosts);
  await noteDamage(context, context.central, [{ digest: layer, key }], 'missing');
}

const progress = async () => (await DATABASES.central.prepare('SELECT name FROM repairs').all()).results;

test('an object that was put back is read once, in parts', async () => {
  const key = await keyAt('central', layer);
  await lost(key);
  await repairParts(3);
  expect([await locationAt('central', layer), await progress()]).toEqual([{ key, damage: 'missing' }, [{ name: key }]]);
  await repairParts(3);
  expect([await locationAt('central', layer), await progress()]).toEqual([{ key, damage: null }, []]);
  expect(bytesRead).toBe(CONTENT.byteLength);
});

test('an orphan is read once, in parts', async () => {
  await BUCKETS.central.delete(await keyAt('central', layer));
  await BUCKETS.central.put('blobs/same', CONTENT);
  await DATABASES.central
    .prepare("INSERT INTO orphans (key, size, first_seen) VALUES ('blobs/same', ?1, ?2)")
    .bind(CONTENT.byteLength, hosts.now)
    .run();
  await lost(await keyAt('central', layer));
  for (let run = 0; run < 4; run++) await repairParts(1);
  expect(await locationAt('central', layer)).toEqual({ key: 'blobs/same', damage: null });
  expect([bytesRead, await progress()]).toEqual([CONTENT.byteLength, []]);
  expect(await read(hosts.central, layer)).toEqual(CONTENT);
});
