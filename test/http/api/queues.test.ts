/** The replication queues as administrators see and steer them; over HTTP, with the real queues. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Replicator } from '../../../src/replication/replicator.ts';
import { call, type UserName } from '../../support/client.ts';
import { putBlob, putImage } from '../../support/content.ts';
import { bytesOf, type Image } from '../../support/fixture.ts';
import {
  api,
  type ApiAnswer,
  eventually,
  applyChangeLog,
  NODE1,
  queue,
  startQueues,
  stopQueues,
} from '../../support/queues.ts';

beforeEach(startQueues);
afterEach(stopQueues);
afterEach(() => void vi.restoreAllMocks());

const AT_NODE1 = { as: 'alice', host: NODE1 } as const;
const pushToNode1 = (seed: number, tag = 'latest'): Promise<Image> => putImage('alice/app', seed, [tag], AT_NODE1);
const settled = (tag = 'latest'): Promise<ApiAnswer> =>
  api('GET', `organizations/alice/repositories/app/images/${tag}?wait=60`, AT_NODE1);
const atCentral = async (path: string): Promise<number> => (await call('GET', path, { as: 'alice' })).status;

const IDLE = {
  store: 'node1',
  answers: true,
  depth: 0,
  oldest_outbox_entry_seconds: null,
  in_flight: 0,
  copies_down: 0,
  parked: 0,
  paused: false,
  copies_up: { blobs: 0, bytes: 0 },
};

interface Page {
  readonly items: readonly { readonly kind: string; readonly key: string }[];
  readonly last: string | null;
}

async function onlyHere(last?: string, n = 1): Promise<Page> {
  const { status, body } = await queue(
    'GET',
    `/only-here?n=${n}${last === undefined ? '' : `&last=${encodeURIComponent(last)}`}`,
  );
  expect(status).toBe(200);
  return body as Page;
}

/** Returns the items of all pages, and the number of pages. */
async function allOnlyHere(n: number): Promise<{ items: Page['items']; pages: number }> {
  const items = [];
  let last: string | null | undefined;
  for (let pages = 1; pages < 50; pages++) {
    const page = await onlyHere(last ?? undefined, n);
    expect(page.items.length).toBeLessThanOrEqual(n);
    items.push(...page.items);
    last = page.last;
    if (last === null) return { items, pages };
  }
  throw new Error('the pages do not end');
}

describe('permissions', () => {
  const ROUTES = [
    ['GET', 'queues', undefined, 200],
    ['GET', 'queues/node1', undefined, 200],
    ['PATCH', 'queues/node1', { paused: false }, 200],
    ['GET', 'queues/node1/parked', undefined, 200],
    ['POST', 'queues/node1/retry', {}, 200],
    ['POST', 'queues/node1/announce-all', undefined, 202],
    ['GET', 'queues/node1/only-here', undefined, 200],
  ] as const;

  test.each(ROUTES)('%s %s: only administrators may', async (method, path, body, status) => {
    const callers: (UserName | undefined)[] = [
      undefined,
      'alice',
      'aliceReader',
      'aliceApp',
      'bob',
      'official',
      'platform',
      'admin',
    ];
    for (const host of ['http://registry.localhost:8787', NODE1]) {
      for (const as of callers) {
        const expected = as === undefined ? 401 : as === 'admin' ? status : 403;
        const options = { host, ...(as === undefined ? {} : { as }), ...(body === undefined ? {} : { body }) };
        expect([as, (await api(method, `replication/${path}`, options)).status]).toEqual([as, expected]);
      }
    }
  });

  test.each(ROUTES.slice(1))('%s %s: only for a store that has a queue', async (method, path, body) => {
    for (const [store, status] of [
      ['node9', 404],
      ['central', 404],
      ['Node1', 400],
    ] as const) {
      const answer = await api(method, `replication/${path.replace('node1', store)}`, {
        as: 'admin',
        ...(body === undefined ? {} : { body }),
      });
      expect([store, answer.status]).toEqual([store, status]);
    }
  });

  test.each([
    ['PATCH', '', {}],
    ['PATCH', '', { paused: 'yes' }],
    ['PATCH', '', { paused: true, other: 1 }],
    ['POST', '/retry', { job: 1 }],
    ['GET', '/parked?n=0', undefined],
    ['GET', '/only-here?n=x', undefined],
    ['GET', '/only-here?last=x', undefined],
    ['GET', '/only-here?last=5', undefined],
    ['GET', '/only-here?last={}', undefined],
    ['GET', '/only-here?last=[]', undefined],
    ['GET', '/only-here?last={"written_at":"x","kind":"tag","repository":"a/b","key":"c"}', undefined],
    ['GET', '/only-here?last={"written_at":1,"kind":{},"repository":"a/b","key":"c"}', undefined],
  ])('%s %s %j is wrong', async (method, path, body) => {
    const { status, body: answer } = await queue(method, path, body);
    expect([status, answer]).toMatchObject([400, { errors: [{ code: 'FIELD_INVALID' }] }]);
  });
});

describe('a retired store', () => {
  test('can be forgotten, unless a node uses it', async () => {
    const locations = (store: string, query = ''): Promise<ApiAnswer> =>
      api('DELETE', `replication/stores/${store}/locations${query}`, { as: 'admin' });
    const insert = [
      "INSERT INTO change_log_positions (store, position, applied_at) VALUES ('retired', 1, 1)",
      "INSERT INTO locations (digest, store, key, size, created_at, lease_until) VALUES ('sha256:a', 'retired', 'k', 1, 0, 0)",
    ].map((statement) => env.DB_CENTRAL.prepare(statement));
    await env.DB_CENTRAL.batch(insert);
    expect(await locations('retired')).toEqual({ status: 200, body: { locations: 1, last: null } });
    expect(await locations('retired')).toMatchObject({ status: 404, body: { errors: [{ code: 'NOT_FOUND' }] } });
    await env.DB_CENTRAL.batch(insert);
    // The store is forgotten only after all slices, wherever the caller began.
    expect(await locations('retired', '?lost=true&last=x')).toEqual({
      status: 200,
      body: { locations: 1, last: null },
    });
    for (const store of ['node1', 'central']) {
      expect(await locations(store)).toMatchObject({ status: 409, body: { errors: [{ code: 'CONFLICT' }] } });
    }
    for (const [store, query] of [
      ['Retired', ''],
      ['retired', '?lost=maybe'],
    ] as const) {
      expect((await locations(store, query)).status).toBe(400);
    }
  });
});

describe('a queue', () => {
  test("is listed with all others, with each node's position in the change log", async () => {
    const { body } = await api('GET', 'replication/queues', { as: 'admin' });
    const { queues } = body as {
      queues: { store: string; change_log: { store: string; behind: number; seconds_since: number }[] }[];
    };
    expect(queues).toMatchObject([IDLE, { ...IDLE, store: 'node2' }]);
    for (const { change_log: changeLog } of queues) {
      expect(changeLog.map(({ store, behind }) => [store, behind])).toEqual([
        ['node1', 0],
        ['node2', 0],
      ]);
      for (const { seconds_since: age } of changeLog) expect(age).toBeGreaterThanOrEqual(0);
    }
    expect((await queue('GET')).body).toMatchObject(IDLE);
  });

  test('that is paused announces nothing, while deletions still come down; resumed, it continues', async () => {
    const old = await pushToNode1(1, 'old');
    await settled('old');
    expect((await queue('PATCH', '', { paused: true })).body).toMatchObject({ paused: true });
    const image = await pushToNode1(5);
    expect((await queue('GET')).body).toMatchObject({
      depth: 1,
      paused: true,
      oldest_outbox_entry_seconds: expect.any(Number),
    });
    expect((await call('DELETE', `/v2/alice/app/manifests/${old.digest}`, { as: 'alice' })).status).toBe(202);
    await applyChangeLog();
    const { results } = await env
      .DB_NODE1!.prepare('SELECT digest FROM manifests WHERE deleted_version > created_version')
      .all();
    expect(results).toEqual([{ digest: old.digest }]);
    expect(await atCentral('/v2/alice/app/manifests/latest')).toBe(404);
    expect((await queue('PATCH', '', { paused: false })).body).toMatchObject({ paused: false, depth: 0 });
    expect((await settled()).body).toMatchObject({ digest: image.digest, state: 'settled' });
    expect((await queue('GET')).body).toMatchObject(IDLE);
  });

  test('that is resumed waits neither for a copy in progress nor for the end of a backoff', async () => {
    const wakeUp = vi.spyOn(Replicator.prototype, 'wakeUp');
    await queue('PATCH', '', { paused: true });
    expect(wakeUp).not.toHaveBeenCalled();
    await queue('PATCH', '', { paused: false });
    expect(wakeUp).toHaveBeenCalledOnce();
  });

  test('lists parked jobs in pages, and retries one or all of them', async () => {
    await queue('PATCH', '', { paused: true });
    await pushToNode1(1);
    await pushToNode1(5, 'other');
    const rows = await env
      .DB_NODE1!.prepare('SELECT digest, key, size FROM locations')
      .all<{ digest: string; key: string; size: number }>();
    const contents = new Map<string, ArrayBuffer>();
    for (const { key, size } of rows.results) {
      contents.set(key, (await (await env.BLOBS_NODE1!.get(key))?.arrayBuffer()) ?? new ArrayBuffer(0));
      await env.BLOBS_NODE1!.put(key, bytesOf(77, size));
    }
    await queue('PATCH', '', { paused: false });
    await eventually(
      () => queue('GET'),
      ({ body }) => (body as { parked: number }).parked === 4,
    );
    const ids = rows.results.map(({ digest }) => `copy up ${digest}`).toSorted();
    const page = async (query: string): Promise<string[]> =>
      ((await queue('GET', `/parked?${query}`)).body as { jobs: { job: string }[] }).jobs.map(({ job }) => job);
    expect(await page('n=3')).toEqual(ids.slice(0, 3));
    expect(await page(`n=3&last=${encodeURIComponent(ids[2] ?? '')}`)).toEqual(ids.slice(3));
    expect(await page('')).toEqual(ids);

    for (const [key, content] of contents) await env.BLOBS_NODE1!.put(key, content);
    const [one] = ids;
    expect((await queue('POST', '/retry', { job: one })).body).toEqual({ retried: 1 });
    await eventually(
      () => queue('GET'),
      ({ body }) => (body as { parked: number }).parked === 3,
    );
    await eventually(
      async () => page(''),
      (left) => left.length === 3 && !left.includes(one ?? ''),
    );
    expect((await queue('POST', '/retry', { job: 'copy up of nothing' })).body).toEqual({ retried: 0 });
    expect((await queue('POST', '/retry', {})).body).toEqual({ retried: 3 });
    for (const tag of ['latest', 'other']) expect((await settled(tag)).body).toMatchObject({ state: 'settled' });
    expect((await queue('GET')).body).toMatchObject(IDLE);
  });

  test('lists in pages the content that only the node has: first unannounced writes, then bytes', async () => {
    expect(await allOnlyHere(10)).toEqual({ items: [], pages: 1 });
    await queue('PATCH', '', { paused: true });
    const images = [await pushToNode1(1), await pushToNode1(5, 'other')];
    const unannounced = images.map(({ digest }) => digest).toSorted();
    for (const n of [1, 3, 4, 100]) {
      expect((await allOnlyHere(n)).items.map(({ key }) => key).toSorted()).toEqual(unannounced);
    }
    expect((await onlyHere(undefined, 100)).items).toContainEqual({
      kind: 'manifest',
      repository: 'alice/app',
      key: images[0]?.digest,
      tag: 'latest',
    });

    // The images are announced, but their bytes cannot be copied.
    const { results } = await env.DB_NODE1!.prepare('SELECT key FROM locations').all<{ key: string }>();
    await env.BLOBS_NODE1!.delete(results.map(({ key }) => key));
    await queue('PATCH', '', { paused: false });
    // The smallest come first: the configs, of 30 bytes, and then the layers.
    const blobs = [0, 1].flatMap((i) => images.map(({ manifest }) => manifest.requiredBlobs[i]!).toSorted());
    for (const n of [1, 3, 4, 100]) expect((await allOnlyHere(n)).items.map(({ key }) => key)).toEqual(blobs);
    expect((await onlyHere()).items).toEqual([
      { kind: 'blob', organization: 'alice', key: blobs[0], size: expect.any(Number), elsewhere: false },
    ]);
  });

  test('announces everything again to a central that lost its rows, and copies the bytes', async () => {
    const image = await pushToNode1(1);
    await settled();
    const tables = [
      'tags',
      'manifests',
      'manifest_contents',
      'manifest_references',
      'links',
      'locations',
      'repositories',
      'tag_history',
    ];
    await env.DB_CENTRAL.batch(tables.map((table) => env.DB_CENTRAL.prepare(`DELETE FROM ${table}`)));
    expect(await atCentral('/v2/alice/app/manifests/latest')).toBe(404);
    expect((await queue('POST', '/announce-all')).status).toBe(202);
    expect((await settled()).body).toMatchObject({
      digest: image.digest,
      state: 'settled',
      blobs: { copied: 2, total: 2 },
    });
    for (const path of ['manifests/latest', ...image.manifest.requiredBlobs.map((digest) => `blobs/${digest}`)]) {
      expect(await atCentral(`/v2/alice/app/${path}`)).toBe(200);
    }
  });

  test('does not copy blobs that no manifest references', async () => {
    await putBlob('alice/app', bytesOf(3, 50), AT_NODE1);
    await pushToNode1(1);
    await settled();
    const { results } = await env.DB_CENTRAL.prepare("SELECT digest FROM locations WHERE store = 'central'").all();
    expect(results).toHaveLength(2);
  });
});
