/** A run of maintenance may be killed at any call, after the call took effect: the next run makes up for it. */
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import type { MaintenanceContext } from '../../../src/maintenance/context.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { isUnavailable } from '../../../src/oci/errors.ts';
import { faulty, type Plan } from '../../support/faults.ts';
import { bytesOf, pushBlob } from '../../support/fixture.ts';
import type { Hosts } from '../../support/hosts.ts';
import {
  at,
  BUCKETS,
  contextOf,
  DATABASES,
  DAY,
  errorLines,
  lookAfter,
  lose,
  openHostsNow,
  orphansAt,
  read,
  spoil,
} from '../../support/objects.ts';
import { SAMPLE } from '../../support/sample.ts';

afterEach(() => void vi.restoreAllMocks());

const ELEVEN_MINUTES = 11 * 60_000;

/** The test kills runs at their first call, then others this many calls later, and so on. A run makes about forty. */
const STEP = 3 * SAMPLE;

/** Returns a context of central and one node. */
function contextOfTwo(hosts: Hosts, bindings: object = env): MaintenanceContext {
  const context = contextOf(hosts, bindings);
  return { ...context, nodes: context.nodes.slice(0, 1) };
}

/**
 * Runs maintenance until it has made `calls` calls. The last of them takes effect, but its answer is lost. Returns
 * whether the run finished.
 */
async function killedAt(hosts: Hosts, calls: number): Promise<boolean> {
  let made = 0;
  const plan: Plan = () => {
    made++;
    if (made < calls) return 'ok';
    return made === calls ? 'after' : 'before';
  };
  try {
    await lookAfter(contextOfTwo(hosts, faulty(env, plan)));
  } catch (error) {
    // Errors of R2's deletes are not translated to OciError.
    if (!isUnavailable(error) && !String(error).includes('(10001)')) throw error;
  }
  hosts.now += ELEVEN_MINUTES;
  return made < calls;
}

test('a run after a killed one repairs all damage and deletes nothing but orphans', async () => {
  const hosts = await openHostsNow();
  errorLines();
  let calls = 1;
  for (let ended = false; !ended; calls += STEP) {
    const [adopted, copied, atNode, leaked] = [0, 1, 2, 3].map((i) => bytesOf(4 * calls + i, 50 + i)) as [
      Uint8Array<ArrayBuffer>,
      Uint8Array<ArrayBuffer>,
      Uint8Array<ArrayBuffer>,
      Uint8Array<ArrayBuffer>,
    ];
    const leak = `blobs/leak-${calls}`;
    const orphan = await pushBlob(at(hosts.central), adopted);
    await lose('central', orphan);
    await BUCKETS.central.put(`blobs/same-${calls}`, adopted);
    await BUCKETS.central.put(leak, leaked);
    const both: Digest[] = [];
    for (const content of [copied, atNode]) {
      await pushBlob(at(hosts.node1), content);
      both.push(await pushBlob(at(hosts.central), content));
    }
    await spoil('central', both[0]!);
    await spoil('node1', both[1]!);
    const all = [
      [orphan, adopted],
      [both[0]!, copied],
      [both[1]!, atNode],
    ] as const;
    const sound = async (): Promise<void> => {
      for (const [digest, content] of all) {
        expect(await read(hosts.central, digest)).toEqual(content);
        expect(await read(hosts.node1, digest)).toEqual(content);
      }
      for (const database of [DATABASES.central, DATABASES.node1]) {
        const damaged = database.prepare('SELECT digest FROM locations WHERE damage IS NOT NULL');
        expect((await damaged.all()).results).toEqual([]);
      }
    };
    hosts.now += DAY;
    const firstEnded = await killedAt(hosts, calls);
    await lookAfter(contextOfTwo(hosts));
    await sound();
    expect(await orphansAt('central')).toContain(leak);
    hosts.now += 31 * DAY;
    ended = (await killedAt(hosts, calls)) && firstEnded;
    hosts.now += DAY;
    await lookAfter(contextOfTwo(hosts));
    await sound();
    expect(await BUCKETS.central.head(leak)).toBeNull();
    await DATABASES.central.prepare('DELETE FROM links').run();
    for (const name of ['central', 'node1'] as const) await DATABASES[name].prepare('DELETE FROM locations').run();
    for (const name of ['central', 'node1'] as const) {
      await DATABASES[name].prepare('DELETE FROM orphans').run();
      const { objects } = await BUCKETS[name].list();
      await BUCKETS[name].delete(objects.map(({ key }) => key));
    }
  }
  expect(calls).toBeGreaterThan(30);
}, 300_000);
