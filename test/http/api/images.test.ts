/** Images: who may ask about them, restore and prefetch them; over HTTP, with the real queues. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { basic, callApi, errorsOf, HOST, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { api, NODE1, startQueues, stopQueues } from '../../support/queues.ts';
import { at, IMAGES, LATEST, pushTo, settled } from '../../support/replicated-image.ts';

beforeEach(startQueues);
afterEach(stopQueues);

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
    for (const host of [HOST, NODE1]) {
      expect([path, (await api('GET', path, at(host))).status]).toEqual([path, status]);
    }
  }
});

test('a caller who may not pull learns nothing of a malformed reference', async () => {
  for (const path of ['sha256:0', 'sha256:0/history', 'sha256:0/shared']) {
    expect([path, (await callApi('GET', `${IMAGES}/${path}`, 'bob')).status]).toEqual([path, 403]);
  }
});

test('an empty version asks about the current write, and one that no push can have returned is 400', async () => {
  await putImage('alice/app', 1, ['latest']);
  const asked = (version: string) => callApi('GET', `${LATEST}?version=${version}`, 'alice');
  expect((await asked('')).status).toBe(200);
  for (const version of ['0', '-1', '1.5', '1e15', '0x10', 'x', '99999999999999999999']) {
    const response = await asked(version);
    expect([version, response.status]).toEqual([version, 400]);
    expect((await errorsOf(response))[0]?.message).toBe(
      'version: must be a version that a push returned in Berth-Version',
    );
  }
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
