/** The replication state of an image, asked over HTTP, with the real queues. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { queueOf, type ReplicationQueue } from '../../../src/replication/durable-object.ts';
import { call, HOST } from '../../support/client.ts';
import { putImage, putManifest } from '../../support/content.ts';
import { bytesOf, type Image } from '../../support/fixture.ts';
import { api, config, eventually, NODE1, NODE2, queue, startQueues, stopQueues } from '../../support/queues.ts';
import { at, CONFIG, digestAt, IMAGES, LAYER, pushTo, settled, state } from '../../support/replicated-image.ts';

beforeEach(startQueues);
afterEach(stopQueues);

/** Returns the key of the layer's object in node1's bucket. */
async function keyOfLayer(): Promise<string> {
  const row = env.DB_NODE1!.prepare("SELECT key FROM locations WHERE store = 'node1' AND digest = ?1");
  const found = await row.bind(await digestOf('sha256', LAYER)).first<{ key: string }>();
  return found?.key ?? '';
}

describe('an image that was pushed to a node', () => {
  test('is pending while its queue is paused, announced once central knows it, settled once central has its bytes', async () => {
    await queue('PATCH', '', { paused: true });
    const { digest } = await pushTo(NODE1, 1);
    const blobs = (copied: number) => ({ blobs: { copied, total: 2 }, bytes: { copied: 0, total: 100 } });
    expect((await state()).body).toEqual({
      digest,
      state: 'pending',
      version: expect.any(Number),
      origin: 'node1',
      ...blobs(0),
      attempts: 0,
      last_error: null,
      locations: [{ store: 'node1', blobs: 2, bytes: 100 }],
    });
    expect((await state('', HOST)).status).toBe(404);

    const key = await keyOfLayer();
    const object = await env.BLOBS_NODE1!.get(key);
    const layer = (await object?.arrayBuffer()) ?? new ArrayBuffer(0);
    await env.BLOBS_NODE1!.delete(key);
    await queue('PATCH', '', { paused: false });
    expect((await state('?wait=60&for=announced')).body).toMatchObject({ digest, state: 'announced' });
    const failed = await eventually(
      () => state(),
      ({ body }) => (body as { attempts: number }).attempts > 0,
    );
    const announced = { digest, state: 'announced', blobs: { copied: 1, total: 2 }, bytes: { copied: 30, total: 100 } };
    expect(failed.body).toMatchObject({ ...announced, last_error: expect.stringContaining('gone') });
    expect((await state('', HOST)).body).toMatchObject(announced);

    await env.BLOBS_NODE1!.put(key, layer);
    const job = `copy up ${await digestOf('sha256', LAYER)}`;
    expect((await queue('POST', '/retry', { job })).body).toEqual({ retried: 1 });
    const done = { state: 'settled', blobs: { copied: 2, total: 2 }, attempts: 0, last_error: null };
    expect((await settled()).body).toMatchObject(done);
    expect((await settled(HOST)).body).toMatchObject(done);
    const { body } = await api('GET', `${IMAGES}/${digest}`, at(NODE1));
    expect(body).toMatchObject({
      digest,
      state: 'settled',
      locations: expect.arrayContaining([{ store: 'central', blobs: 2, bytes: 100 }]),
    });
  });

  test('is parked with the reason when a node has other bytes; after a repair and a retry it settles', async () => {
    await queue('PATCH', '', { paused: true });
    await pushTo(NODE1, 1);
    const key = await keyOfLayer();
    await env.BLOBS_NODE1!.put(key, bytesOf(99, LAYER.byteLength));
    await queue('PATCH', '', { paused: false });
    const layer = await digestOf('sha256', LAYER);
    expect((await settled()).body).toMatchObject({
      state: 'parked',
      attempts: 1,
      last_error: expect.stringContaining(layer),
    });
    expect((await queue('GET', '/parked')).body).toEqual({
      jobs: [{ job: `copy up ${layer}`, attempts: 1, last_error: expect.stringContaining(layer) }],
    });
    expect((await queue('GET')).body).toMatchObject({ parked: 1, depth: 0, copies_up: { blobs: 1, bytes: 70 } });
    await env.BLOBS_NODE1!.put(key, LAYER);
    expect((await queue('POST', '/retry', {})).body).toEqual({ retried: 1 });
    expect((await settled()).body).toMatchObject({ state: 'settled' });
    expect((await queue('GET', '/parked')).body).toEqual({ jobs: [] });
  });

  test('is superseded once a later write has won, as is a version that the node itself has replaced', async () => {
    await pushTo(NODE1, 1);
    const { version } = (await settled()).body as { version: number };
    const second = await pushTo(NODE1, 5);
    expect((await settled()).body).toMatchObject({ digest: second.digest, state: 'settled' });
    expect((await state(`?version=${version}`)).body).toMatchObject({ state: 'superseded', version });
    const third = await pushTo(NODE2, 9);
    expect((await settled(NODE2)).body).toMatchObject({ digest: third.digest, state: 'settled', origin: 'node2' });
    expect((await state()).body).toMatchObject({ state: 'superseded' });
    expect((await state(`?version=${version}&wait=60`)).body).toMatchObject({ state: 'superseded', version });
  });

  describe("asked about by the version in the push's answer", () => {
    const versionOf = (response: Response): number => {
      expect(response.status).toBe(201);
      return Number(response.headers.get('Berth-Version'));
    };
    const push = async (image: Image, host: string, reference = 'latest'): Promise<number> =>
      versionOf(await putManifest('alice/app', reference, image, at(host)));
    const DELETED = {
      digest: null,
      state: 'superseded',
      blobs: { copied: 0, total: 0 },
      bytes: { copied: 0, total: 0 },
      attempts: 0,
      last_error: null,
      locations: [],
    };

    test('returns the state of that version', async () => {
      const image = await pushTo(NODE1, 1);
      for (const reference of ['latest', `${image.digest}?tag=latest`]) {
        const version = await push(image, NODE1, reference);
        expect((await state(`?version=${version}&wait=60`)).body).toMatchObject({
          state: 'settled',
          version,
          origin: 'node1',
        });
        const byDigest = `${IMAGES}/${image.digest}?version=${version}`;
        expect((await api('GET', byDigest, at(NODE1))).body).toMatchObject({ state: 'settled', version });
      }
    });

    test('is superseded by a write that won elsewhere, even once the host has the winner', async () => {
      await queue('PATCH', '', { paused: true });
      const image = await pushTo(NODE1, 1);
      const lost = await push(image, NODE1);
      const won = await putImage('alice/app', 5, ['latest']);
      await queue('PATCH', '', { paused: false });
      await eventually(
        () => digestAt(NODE1),
        (digest) => digest === won.digest,
      );
      const expected = { state: 'superseded', version: lost, digest: won.digest, origin: 'central' };
      for (const host of [HOST, NODE1, NODE2]) {
        expect((await state(`?version=${lost}&wait=60`, host)).body).toMatchObject(expected);
      }
      expect((await settled()).body).toMatchObject({ state: 'settled', digest: won.digest });
    });

    test('is pending, not superseded, until a later write of the same node is announced', async () => {
      const first = await pushTo(NODE1, 1);
      await settled();
      await queue('PATCH', '', { paused: true });
      const lost = await push(first, NODE1);
      const won = await pushTo(NODE1, 5);
      expect(await digestAt(HOST)).toBe(first.digest);
      const asked = `?version=${lost}`;
      expect((await state(`${asked}&wait=0.5`)).body).toMatchObject({
        state: 'pending',
        version: lost,
        digest: won.digest,
      });
      const waiting = state(`${asked}&wait=60`);
      await queue('PATCH', '', { paused: false });
      expect((await waiting).body).toMatchObject({ state: 'superseded', version: lost, digest: won.digest });
      expect(await digestAt(HOST)).toBe(won.digest);
    });

    test('is parked when the announcement of the winning write is parked', async () => {
      await queue('PATCH', '', { paused: true });
      const lost = await push(await pushTo(NODE1, 1), NODE1);
      const won = await pushTo(NODE1, 5);
      const outboxEntry = env.DB_NODE1!.prepare('SELECT version FROM outbox WHERE key = ?1').bind(won.digest);
      const version = (await outboxEntry.first<number>('version')) ?? 0;
      await runInDurableObject(queueOf(env, config, 'node1'), (_: ReplicationQueue, { storage }) => {
        storage.sql.exec(
          'INSERT INTO jobs VALUES (?, 12, 0, 1, ?)',
          `announce manifest alice/app ${won.digest} ${version}`,
          'it failed',
        );
      });
      expect((await state(`?version=${lost}&wait=60`)).body).toMatchObject({
        state: 'parked',
        version: lost,
        digest: won.digest,
      });
    });

    test("is superseded when another store's write of the same version has won", async () => {
      const lost = await putImage('alice/app', 1, ['other'], at(NODE1));
      const won = await putImage('alice/app', 5, ['other'], at(NODE2));
      await queue('PATCH', '', { paused: true });
      const version = (Date.now() + 3_600_000) * 1000;
      for (const database of [env.DB_NODE1!, env.DB_NODE2!]) {
        await database
          .prepare('UPDATE clock SET version = ?1')
          .bind(version - 1)
          .run();
      }
      expect([await push(lost, NODE1), await push(won, NODE2)]).toEqual([version, version]);
      const ofWinner = { state: 'settled', digest: won.digest, version: version, origin: 'node2' };
      expect((await settled(NODE2)).body).toMatchObject(ofWinner);
      const asked = `?version=${version}&wait=60`;
      for (const query of ['', asked]) {
        expect((await state(query)).body).toMatchObject({ ...ofWinner, state: 'superseded' });
      }
      await queue('PATCH', '', { paused: false });
      expect((await state()).body).toMatchObject(ofWinner);
      expect((await state(asked)).body).toMatchObject({ ...ofWinner, state: 'superseded' });
      for (const host of [NODE2, HOST]) expect((await state(asked, host)).body).toMatchObject(ofWinner);
    });

    test.each(['latest', 'digest'])('is superseded at every host once its %s was deleted', async (what) => {
      const image = await pushTo(NODE1, 1);
      const version = await push(image, NODE1);
      await settled();
      const reference = what === 'digest' ? image.digest : what;
      expect((await call('DELETE', `/v2/alice/app/manifests/${reference}`, at(HOST))).status).toBe(202);
      const asked = what === 'digest' ? ['latest', image.digest] : ['latest'];
      for (const host of [HOST, NODE1, NODE2]) {
        for (const name of asked) {
          const answer = await api('GET', `${IMAGES}/${name}?version=${version}&wait=60`, at(host));
          expect([host, name, answer]).toEqual([
            host,
            name,
            {
              status: 200,
              body: {
                ...DELETED,
                version,
                origin: name === image.digest ? null : what === 'digest' ? 'node1' : 'central',
              },
            },
          ]);
          expect((await api('GET', `${IMAGES}/${name}`, at(host))).status).toBe(404);
          expect((await api('GET', `${IMAGES}/${name}?version=${version + 1e12}`, at(host))).status).toBe(404);
        }
      }
      const again = await push(image, NODE1);
      expect((await state(`?version=${again}&wait=60`)).body).toMatchObject({ state: 'settled', version: again });
      expect((await state(`?version=${version}`)).body).toMatchObject({
        state: 'superseded',
        version,
        digest: image.digest,
      });
    });

    test('is unknown to a host that does not know the version, whatever the tag points at there', async () => {
      await putImage('alice/app', 5, ['latest']);
      await queue('PATCH', '', { paused: true });
      const version = await push(await pushTo(NODE1, 1), NODE1);
      expect((await state(`?version=${version}`)).body).toMatchObject({ state: 'pending', version });
      expect((await state(`?version=${version}`, HOST)).status).toBe(404);
    });
  });

  test('answers a waiting request as soon as the state is final', { timeout: 40_000 }, async () => {
    await queue('PATCH', '', { paused: true });
    await pushTo(NODE1, 1);
    expect((await state('?wait=0.1')).body).toMatchObject({ state: 'pending' });
    const waiting = settled();
    await queue('PATCH', '', { paused: false });
    expect((await waiting).body).toMatchObject({ state: 'settled' });
  });
});

test('an image that was pushed to central is settled at once', async () => {
  await putImage('alice/app', 1, ['latest']);
  expect((await state('', HOST)).body).toMatchObject({
    state: 'settled',
    origin: 'central',
    locations: [{ store: 'central', blobs: 2, bytes: CONFIG.byteLength + LAYER.byteLength }],
  });
});
