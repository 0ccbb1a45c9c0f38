/**
 * Stores that never answer instead of failing: a call is given up at its deadline, and its caller continues as after a
 * failure. The deadlines of stalled calls pass at once.
 */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { CENTRAL_MILLISECONDS, answerOfCentral } from '../../src/registry/federated/central.ts';
import { ReplicationQueue, queueOf } from '../../src/replication/durable-object.ts';
import {
  all,
  announced,
  HOST_NAMES,
  outboxEntries,
  pulls,
  REPOSITORY,
  requireSettledEverywhere,
  settled,
  wrongRefusal,
} from '../support/away.ts';
import { addUsers } from '../support/client.ts';
import { type Fault, faulty } from '../support/faults.ts';
import { bytesOf } from '../support/fixture.ts';
import { passDeadlinesOfStalledCalls, stalledCall } from '../support/stalled-calls.ts';
import { ORIGINS, ThreeHosts } from '../support/three-hosts.ts';

passDeadlinesOfStalledCalls();

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

describe("central's R2 stalls", () => {
  test.each(['central', 'node2'] as const)("a GET at %s falls through to the node's location", async (host) => {
    const image = await settled(hosts, 1);
    hosts.stall('central R2');
    expect(await pulls(hosts, host, image)).toEqual(all(image, 200));
    await requireSettledEverywhere(hosts, image);
  });

  test('bytes without another location are 503, and so is a push to central', async () => {
    const image = await settled(hosts, 1);
    await hosts.evict('node1', image.manifest.requiredBlobs);
    hosts.stall('central R2');
    expect(await pulls(hosts, 'node2', image)).toEqual([200, 200, 200, 200, 503, 503, 503, 503]);
    expect(wrongRefusal(await hosts.putBlob('central', REPOSITORY, bytesOf(900, 50)))).toBeUndefined();
    expect((await hosts.fetch(new Request(`${ORIGINS.central}/healthz`))).status).toBe(503);
    await requireSettledEverywhere(hosts, image);
  });
});

describe("central's D1 stalls", () => {
  test('a deletion is 503 at a node and at central, and nothing is gone', async () => {
    const image = await settled(hosts, 1);
    const blob = bytesOf(900, 50);
    expect((await hosts.putBlob('node1', REPOSITORY, blob)).status).toBe(201);
    hosts.stall('central D1');
    for (const host of HOST_NAMES) {
      const paths = ['manifests/latest', `manifests/${image.digest}`, `blobs/${await digestOf('sha256', blob)}`];
      for (const path of paths) {
        const answer = await hosts.call(host, 'DELETE', `/v2/${REPOSITORY}/${path}`);
        expect([host, path, wrongRefusal(answer)]).toEqual([host, path, undefined]);
      }
      const repository = await hosts.call(host, 'DELETE', '/api/organizations/alice/repositories/app');
      expect([host, wrongRefusal(repository)]).toEqual([host, undefined]);
    }
    await requireSettledEverywhere(hosts, image);
  });

  test('a node takes pushes, serves its own content, and answers 503 for everything else', async () => {
    const image = await settled(hosts, 1, 'old');
    hosts.stall('central D1');
    const pushed = await hosts.push('node1', REPOSITORY, 3, 'latest');
    expect(await pulls(hosts, 'node1', pushed)).toEqual(all(pushed, 200));
    expect(await pulls(hosts, 'node2', image, 'old')).toEqual(all(image, 503));
    await hosts.drain();
    expect([await outboxEntries(), hosts.queueOf('node1').state.parkedCount()]).toEqual([1, 0]);
    await requireSettledEverywhere(hosts, pushed);
  });
});

test("when a node's store stalls, settled images come from central, and the others are 503", async () => {
  const [old, image] = [await settled(hosts, 1, 'old'), await announced(hosts, 3)];
  hosts.stall('node1 D1', 'node1 R2');
  for (const host of HOST_NAMES) {
    expect([host, await pulls(hosts, host, old, 'old')]).toEqual([host, all(old, 200)]);
    expect([host, await pulls(hosts, host, image)]).toEqual([host, [200, 200, 200, 200, 503, 503, 503, 503]]);
  }
  expect(wrongRefusal(await hosts.putManifest('node1', REPOSITORY, 'again', image))).toBeUndefined();
  await requireSettledEverywhere(hosts, image);
});

test.each<['stall' | 'stall after', 'central' | 'node1']>([
  ['stall', 'central'],
  ['stall after', 'central'],
  ['stall', 'node1'],
  ['stall after', 'node1'],
])('a queue resumes after a call (%s) to the D1 of %s', async (fault, store) => {
  const config = parseConfig(env);
  const image = await hosts.push('node1', REPOSITORY, 1, 'latest');
  let stalls = 1;
  const plan = (call: { store: string; kind: string }): Fault =>
    call.store === store && call.kind === 'batch' && stalls-- > 0 ? fault : 'ok';
  await runInDurableObject(queueOf(env, config, 'node1'), async (_queue: ReplicationQueue, state) => {
    const queue = new ReplicationQueue(state, faulty(env, plan));
    // Calls that come while a run stalls wait for the next run, which does their work.
    await Promise.all([queue.changeLogHasGrown('node1'), queue.wake('node1'), queue.wake('node1')]);
    await queue.retry('node1', undefined);
    await state.storage.deleteAlarm();
    for (const table of ['jobs', 'copies_down', 'progress', 'settings']) state.storage.sql.exec(`DELETE FROM ${table}`);
  });
  expect([stalls < 0, await outboxEntries()]).toEqual([true, 0]);
  await requireSettledEverywhere(hosts, image);
});

test('a node waits less long for central than for a store that it cannot do without', async () => {
  await expect(answerOfCentral(stalledCall())).rejects.toMatchObject({
    kind: 'UNAVAILABLE',
    headers: { 'Retry-After': '5' },
  });
  expect(CENTRAL_MILLISECONDS).toBe(5000);
});
