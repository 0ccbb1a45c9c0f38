/** An image's replication state, its history, and prefetching it; over HTTP, with the real queues. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { type ReplicationQueue, queueOf } from '../../../src/replication/durable-object.ts';
import { basic, call, type UserName } from '../../support/client.ts';
import { putImage, putManifest } from '../../support/content.ts';
import { bytesOf, type Image } from '../../support/fixture.ts';
import {
  api,
  type ApiAnswer,
  config,
  eventually,
  applyChangeLog,
  NODE1,
  NODE2,
  queue,
  startQueues,
  stopQueues,
} from '../../support/queues.ts';

const IMAGES = 'organizations/alice/repositories/app/images';
const LATEST = `${IMAGES}/latest`;
const CONFIG = bytesOf(1, 30);
const LAYER = bytesOf(2, 70);

beforeEach(startQueues);
afterEach(stopQueues);

const at = (host: string) => ({ as: 'alice', host }) as const;
const pushTo = (host: string, seed: number, tag = 'latest'): Promise<Image> =>
  putImage('alice/app', seed, [tag], at(host));
const CENTRAL = 'http://registry.localhost:8787';
const state = (query = '', host = NODE1): Promise<ApiAnswer> => api('GET', `${LATEST}${query}`, at(host));
const settled = (host = NODE1): Promise<ApiAnswer> => state('?wait=60', host);
const digestAt = async (host: string, tag = 'latest'): Promise<string | null> =>
  (await call('HEAD', `/v2/alice/app/manifests/${tag}`, at(host))).headers.get('Docker-Content-Digest');

/** Returns the key of the layer's object in node1's bucket. */
async function keyOfLayer(): Promise<string> {
  const row = env.DB_NODE1!.prepare("SELECT key FROM locations WHERE store = 'node1' AND digest = ?1");
  const found = await row.bind(await digestOf('sha256', LAYER)).first<{ key: string }>();
  return found?.key ?? '';
}

describe('permissions', () => {
  const pullers: UserName[] = ['alice', 'aliceReader', 'aliceApp', 'platform'];
  const callers: (UserName | undefined)[] = [undefined, ...pullers, 'bob', 'official', 'admin'];
  const statusOf = (caller: UserName | undefined, may: readonly UserName[]): number =>
    caller === undefined ? 401 : may.includes(caller) ? 200 : 403;

  test.each([NODE1, undefined])(
    'at %s, a puller sees the state and the history; a pusher, or an operator of the nodes, may prefetch',
    async (host) => {
      await pushTo(NODE1, 1);
      await settled();
      for (const as of callers) {
        const options = { ...(as === undefined ? {} : { as }), ...(host === undefined ? {} : { host }) };
        const answers = [await api('GET', LATEST, options), await api('GET', `${LATEST}/history`, options)];
        expect([as, answers.map(({ status }) => status)]).toEqual([as, answers.map(() => statusOf(as, pullers))]);
        const { status } = await api('POST', `${LATEST}/prefetch`, { ...options, body: { node: 'node2' } });
        expect([as, status]).toEqual([as, statusOf(as, ['alice', 'aliceApp', 'platform', 'admin'])]);
      }
    },
  );

  test('nobody else may prefetch, not even a public or official image, nor to a node where the credential is invalid', async () => {
    await pushTo(NODE1, 1);
    await putImage('official/base', 5, ['latest'], { as: 'official' });
    await settled();
    const publish = { as: 'alice', body: { visibility: 'public' } } as const;
    expect((await api('PATCH', 'organizations/alice/repositories/app', publish)).status).toBe(200);
    const official = 'organizations/official/repositories/base/images/latest';
    for (const [as, path] of [
      ['bob', LATEST],
      ['aliceReader', LATEST],
      ['bob', official],
      ['alice', official],
    ] as const) {
      expect((await api('GET', path, { as })).status).toBe(200);
      expect([as, path, (await api('POST', `${path}/prefetch`, { as, body: { node: 'node2' } })).status]).toEqual([
        as,
        path,
        403,
      ]);
    }
    const limited = { name: 'local', rights: ['pull', 'push'], registries: ['central', 'node1'] };
    const made = await api('POST', 'organizations/alice/credentials', { as: 'alice', body: limited });
    const as = { authorization: basic({ name: 'local', password: (made.body as { secret: string }).secret }) };
    expect((await api('POST', `${LATEST}/prefetch`, { as, body: { node: 'node2' } })).status).toBe(403);
    expect((await api('POST', `${LATEST}/prefetch`, { as, body: { node: 'node1' } })).status).toBe(200);
  });

  test('a pusher may restore', async () => {
    await pushTo(NODE1, 1);
    await settled();
    const { body } = await api('GET', `${LATEST}/history`, at(NODE1));
    const { version, origin } = (body as { history: [{ version: number; origin: string }] }).history[0];
    for (const as of callers) {
      const { status } = await api('POST', `${LATEST}/restore`, {
        ...(as === undefined ? {} : { as }),
        host: NODE1,
        body: { version, origin },
      });
      expect([as, status]).toEqual([as, statusOf(as, ['alice', 'aliceApp'])]);
    }
  });
});

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
    expect((await state('', CENTRAL)).status).toBe(404);

    const key = await keyOfLayer();
    const object = await env.BLOBS_NODE1!.get(key);
    const layer = (await object?.arrayBuffer()) ?? new ArrayBuffer(0);
    await env.BLOBS_NODE1!.delete(key);
    await queue('PATCH', '', { paused: false });
    const failed = await eventually(
      () => state(),
      ({ body }) => (body as { attempts: number }).attempts > 0,
    );
    const announced = { digest, state: 'announced', blobs: { copied: 1, total: 2 }, bytes: { copied: 30, total: 100 } };
    expect(failed.body).toMatchObject({ ...announced, last_error: expect.stringContaining('gone') });
    expect((await state('', CENTRAL)).body).toMatchObject(announced);

    await env.BLOBS_NODE1!.put(key, layer);
    const job = `copy up ${await digestOf('sha256', LAYER)}`;
    expect((await queue('POST', '/retry', { job })).body).toEqual({ retried: 1 });
    const done = { state: 'settled', blobs: { copied: 2, total: 2 }, attempts: 0, last_error: null };
    expect((await settled()).body).toMatchObject(done);
    expect((await settled(CENTRAL)).body).toMatchObject(done);
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
      for (const host of [CENTRAL, NODE1, NODE2]) {
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
      expect(await digestAt(CENTRAL)).toBe(first.digest);
      const asked = `?version=${lost}`;
      expect((await state(`${asked}&wait=0.5`)).body).toMatchObject({
        state: 'pending',
        version: lost,
        digest: won.digest,
      });
      const waiting = state(`${asked}&wait=60`);
      await queue('PATCH', '', { paused: false });
      expect((await waiting).body).toMatchObject({ state: 'superseded', version: lost, digest: won.digest });
      expect(await digestAt(CENTRAL)).toBe(won.digest);
    });

    test('is parked when the announcement of the winning write is parked', async () => {
      await queue('PATCH', '', { paused: true });
      const lost = await push(await pushTo(NODE1, 1), NODE1);
      const won = await pushTo(NODE1, 5);
      const outboxEntry = env.DB_NODE1!.prepare("SELECT version FROM outbox WHERE kind = 'tag' AND key = 'latest'");
      const version = (await outboxEntry.first<number>('version')) ?? 0;
      await runInDurableObject(queueOf(env, config, 'node1'), (_: ReplicationQueue, { storage }) => {
        storage.sql.exec(
          'INSERT INTO jobs VALUES (?, 12, 0, 1, ?)',
          `announce tag alice/app latest ${version}`,
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
      for (const host of [NODE2, CENTRAL]) expect((await state(asked, host)).body).toMatchObject(ofWinner);
    });

    test.each(['latest', 'digest'])('is superseded at every host once its %s was deleted', async (what) => {
      const image = await pushTo(NODE1, 1);
      const version = await push(image, NODE1);
      await settled();
      const reference = what === 'digest' ? image.digest : what;
      expect((await call('DELETE', `/v2/alice/app/manifests/${reference}`, at(CENTRAL))).status).toBe(202);
      const asked = what === 'digest' ? ['latest', image.digest] : ['latest'];
      for (const host of [CENTRAL, NODE1, NODE2]) {
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
      expect((await state(`?version=${version}`, CENTRAL)).status).toBe(404);
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

  test('refuses absent images and bad parameters', async () => {
    for (const [path, status] of [
      [`${IMAGES}/never`, 404],
      [`organizations/alice/repositories/never/images/latest`, 404],
      [`${IMAGES}/sha256:${'0'.repeat(64)}`, 404],
      [`${LATEST}?wait=61`, 400],
      [`${LATEST}?wait=-1`, 400],
      [`${LATEST}?version=x`, 400],
      [`${LATEST}?version=0`, 400],
      [`${LATEST}?version=1`, 404],
      [`${IMAGES}/not%20a%20tag`, 404],
      [`${IMAGES}/blake3:${'0'.repeat(64)}`, 404],
      [`${IMAGES}/sha256:0`, 400],
      [`${IMAGES}/sha256:0/history`, 400],
    ] as const) {
      for (const host of [CENTRAL, NODE1]) {
        expect([path, (await api('GET', path, at(host))).status]).toEqual([path, status]);
      }
    }
  });
});

describe('history', () => {
  test('lists the writes of all stores, including those that lost; a lost one can be restored', async () => {
    await queue('PATCH', '', { paused: true });
    const lost = await pushTo(NODE1, 1);
    const won = await putImage('alice/app', 5, ['latest']);
    await queue('PATCH', '', { paused: false });
    await settled();
    await eventually(
      () => digestAt(NODE1),
      (digest) => digest === won.digest,
    );
    for (const host of [CENTRAL, NODE1, NODE2]) {
      const { body } = await api('GET', `${LATEST}/history`, at(host));
      expect(body).toMatchObject({
        history: [
          {
            digest: won.digest,
            origin: 'central',
            current: true,
            replaced_at: null,
            stores: expect.arrayContaining(['central', 'node1']),
          },
          {
            digest: lost.digest,
            origin: 'node1',
            current: false,
            replaced_at: expect.any(String),
            stores: expect.arrayContaining(['central']),
          },
        ],
      });
    }
    const { body } = await api('GET', `${LATEST}/history`, at(NODE2));
    const [, entry] = (body as { history: { version: number; origin: string }[] }).history;
    const put = { version: entry?.version, origin: entry?.origin };
    expect(await api('POST', `${LATEST}/restore`, { ...at(NODE2), body: put })).toMatchObject({
      status: 200,
      body: { digest: lost.digest, version: expect.any(Number) },
    });
    expect((await settled(NODE2)).body).toMatchObject({ digest: lost.digest, state: 'settled' });
    await applyChangeLog();
    for (const host of [CENTRAL, NODE1, NODE2]) expect([host, await digestAt(host)]).toEqual([host, lost.digest]);
    const after = (await api('GET', `${LATEST}/history`, at(NODE1))).body as { history: { digest: string }[] };
    expect(after.history.map(({ digest }) => digest)).toEqual([lost.digest, won.digest, lost.digest]);
  });

  test("shows callers who cannot push a tag's deletions, but no deleted manifest", async () => {
    const deleted = await pushTo(NODE1, 1);
    const kept = await pushTo(NODE1, 5);
    await settled();
    expect((await call('DELETE', `/v2/alice/app/manifests/${deleted.digest}`, at(NODE1))).status).toBe(202);
    expect((await call('DELETE', '/v2/alice/app/manifests/latest', at(NODE1))).status).toBe(202);
    const current = await pushTo(NODE1, 9);
    await settled();
    const publish = { as: 'alice', body: { visibility: 'public' } } as const;
    expect((await api('PATCH', 'organizations/alice/repositories/app', publish)).status).toBe(200);
    await applyChangeLog();
    const seen = async (as: UserName, host: string) => {
      const { body } = await api('GET', `${LATEST}/history`, { as, host });
      return (body as { history: { digest: string | null }[] }).history.map(({ digest }) => digest);
    };
    for (const host of [CENTRAL, NODE1, NODE2]) {
      expect(await seen('alice', host)).toEqual([current.digest, null, kept.digest, deleted.digest]);
      for (const as of ['aliceReader', 'platform', 'bob', 'admin'] as const) {
        expect([as, await seen(as, host)]).toEqual([as, [current.digest, null, kept.digest]]);
      }
    }
  });

  test('restores a manifest as it was pushed, even if a push of it would be refused today', async () => {
    const old = await putImage('alice/app', 1, ['latest'], at(CENTRAL));
    await putImage('alice/app', 5, ['latest'], at(CENTRAL));
    // Berth became stricter between the push and the restore.
    const loosen = `UPDATE manifest_contents
      SET content = replace(content, '{"', '{"annotations":{"a":1},"SchemaVersion":"2","')`;
    await env.DB_CENTRAL.prepare(`${loosen} WHERE digest = ?1`).bind(old.digest).run();
    const read = async (): Promise<string> =>
      (await call('GET', `/v2/alice/app/manifests/${old.digest}`, at(CENTRAL))).text();
    const before = await read();
    expect(before).toContain('"SchemaVersion":"2"');

    const { body } = await api('GET', `${LATEST}/history`, at(CENTRAL));
    const { history } = body as { history: { version: number; origin: string; restorable: boolean }[] };
    const entry = history[1]!;
    expect(entry.restorable).toBe(true);
    const put = { version: entry.version, origin: entry.origin };
    expect(await api('POST', `${LATEST}/restore`, { ...at(CENTRAL), body: put })).toMatchObject({
      status: 200,
      body: { digest: old.digest },
    });
    expect(await digestAt(CENTRAL)).toBe(old.digest);
    expect(await read()).toBe(before);
  });

  test('does not restore an unknown entry, a deletion or a deleted manifest', async () => {
    const image = await pushTo(NODE1, 1);
    await settled();
    expect((await call('DELETE', `/v2/alice/app/manifests/latest`, at(NODE1))).status).toBe(202);
    expect((await call('DELETE', `/v2/alice/app/manifests/${image.digest}`, at(NODE1))).status).toBe(202);
    const { history } = (await api('GET', `${LATEST}/history`, at(NODE1))).body as {
      history: { version: number; origin: string; digest: string | null }[];
    };
    expect(history.map(({ digest }) => digest)).toEqual([null, image.digest]);
    const restore = async (body: object): Promise<number> =>
      (await api('POST', `${LATEST}/restore`, { ...at(NODE1), body })).status;
    for (const { version, origin } of history) expect(await restore({ version, origin })).toBe(409);
    expect(await restore({ version: 1, origin: 'node1' })).toBe(404);
    expect(await restore({ version: 'x', origin: 'node1' })).toBe(400);
    expect(await restore({})).toBe(400);
  });
});

describe('prefetch', () => {
  test('copies an image to a node, which then serves it without any other store', async () => {
    const image = await pushTo(NODE1, 1);
    await settled();
    const asked = await api('POST', `${LATEST}/prefetch?wait=60`, { ...at(NODE1), body: { node: 'node2' } });
    expect(asked).toEqual({
      status: 200,
      body: { node: 'node2', digest: image.digest, blobs: { copied: 2, total: 2 }, done: true, complete: true },
    });
    const { results } = await env
      .DB_NODE2!.prepare("SELECT digest, key FROM locations WHERE store = 'node2'")
      .all<{ digest: string; key: string }>();
    expect(results.map(({ digest }) => digest).toSorted()).toEqual([...image.manifest.requiredBlobs].toSorted());
    for (const { key } of results) expect(await env.BLOBS_NODE2!.head(key)).not.toBeNull();
    const rows = await env
      .DB_NODE2!.prepare('SELECT (SELECT count(*) FROM outbox) AS outbox, (SELECT digest FROM tags) AS tag')
      .first();
    expect(rows).toEqual({ outbox: 0, tag: image.digest });
  });

  test('refuses absent images and unknown nodes, and does not reveal where an image is', async () => {
    await pushTo(NODE1, 1);
    await settled();
    for (const [path, body, status] of [
      [`${IMAGES}/never`, { node: 'node2' }, 404],
      [LATEST, { node: 'node3' }, 404],
      [LATEST, { node: 'central' }, 404],
      [LATEST, {}, 400],
    ] as const) {
      expect([path, body, (await api('POST', `${path}/prefetch`, { as: 'alice', body })).status]).toEqual([
        path,
        body,
        status,
      ]);
    }
  });
});

test('an image that was pushed to central is settled at once', async () => {
  await putImage('alice/app', 1, ['latest']);
  expect((await state('', CENTRAL)).body).toMatchObject({
    state: 'settled',
    origin: 'central',
    locations: [{ store: 'central', blobs: 2, bytes: CONFIG.byteLength + LAYER.byteLength }],
  });
});
