/** Repairing a large object, which is copied in parts over several runs. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { WHOLE_BYTES } from '../../../src/replication/transfer.ts';
import { pushBlob } from '../../support/fixture.ts';
import type { Hosts } from '../../support/hosts.ts';
import { gateD1 } from '../../support/links.ts';
import {
  at,
  contextOf,
  DATABASES,
  DAY,
  errorLines,
  locationAt,
  lookAfter,
  lose,
  openHostsNow,
  read,
} from '../../support/objects.ts';
import { repair } from '../../support/maintenance.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHostsNow();
});

afterEach(() => void vi.restoreAllMocks());

/** Pushes a large layer to central and a node, and loses central's object, which a comparison then notices. */
async function loseLayer(): Promise<{ content: Uint8Array<ArrayBuffer>; layer: Digest }> {
  const content = new Uint8Array(WHOLE_BYTES + 1000).fill(5);
  const layer = await pushBlob(at(hosts.central), content);
  await pushBlob(at(hosts.node1), content);
  await lose('central', layer);
  errorLines();
  await lookAfter(contextOf(hosts, env, { nodes: [] }));
  return { content, layer };
}

/** Runs the repair an hour later. It has time to find the blob and to copy one part. */
async function repairOnePart(repaired: (digest: Digest) => void = () => undefined): Promise<void> {
  hosts.now += DAY / 24;
  let left = 3;
  const context = contextOf(hosts, env, { mayGoOn: () => left-- > 0 });
  await repair(context, context.central, async (_store, digest) => repaired(digest));
}

const progress = async () => (await DATABASES.central.prepare('SELECT name FROM repairs').all()).results;

test('a large object is copied in parts over several runs', async () => {
  const { content, layer } = await loseLayer();
  const found = new Set<Digest>();
  expect(await locationAt('central', layer)).toMatchObject({ damage: 'missing' });
  let runs = 0;
  while (found.size === 0 && runs++ < 10) await repairOnePart((digest) => void found.add(digest));
  expect(runs).toBeGreaterThan(1);
  expect((await read(hosts.central, layer)).byteLength).toBe(content.byteLength);
  expect(await progress()).toEqual([]);
});

test('no later attempt uses a copy whose row was written, even if the answer was lost', async () => {
  const { layer } = await loseLayer();
  await repairOnePart();
  expect(await progress()).toEqual([{ name: layer }]);
  // Once the row is written, no answer reaches the run, as if it had been killed.
  const isNamed = async () => (await locationAt('central', layer))?.damage === null;
  const failing = gateD1(DATABASES.central, async (_call, work) => {
    const answer = (await isNamed()) ? undefined : await work();
    if (answer === undefined || (await isNamed())) throw new Error('D1_ERROR: Network connection lost.');
    return answer;
  });
  const cut = contextOf(hosts, { ...env, DB_CENTRAL: failing });
  await repair(cut, cut.central, async () => undefined).catch(() => undefined);
  expect(await isNamed()).toBe(true);
  expect(await progress()).toEqual([]);
});

test('two runs that go on with the same copy at once do not delete it', async () => {
  const { content, layer } = await loseLayer();
  await repairOnePart();
  expect(await progress()).toEqual([{ name: layer }]);
  const context = contextOf(hosts);
  await Promise.all([1, 2].map(() => repair(context, context.central, async () => undefined)));
  expect(await locationAt('central', layer)).toMatchObject({ damage: null });
  expect((await read(hosts.central, layer)).byteLength).toBe(content.byteLength);
});
