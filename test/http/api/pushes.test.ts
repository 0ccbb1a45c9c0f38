/** The latest pushes, over HTTP. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HOUR } from '../../../src/durations.ts';
import { documentsOfHour } from '../../../src/maintenance/documents-of-hour.ts';
import { goRound, type Task } from '../../../src/maintenance/round.ts';
import { openStore } from '../../../src/stores/store.ts';
import { call, callApi, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { openRun } from '../../support/maintenance.ts';
import { api, NODE1, startQueues, stopQueues } from '../../support/queues.ts';

beforeEach(startQueues);
afterEach(stopQueues);

interface Push {
  readonly repository: string;
  readonly tag: string;
  readonly pushed_at: string;
  readonly origin: string;
}

async function latest(query = '', as: UserName = 'admin'): Promise<Push[]> {
  const { status, body } = await api('GET', `pushes${query}`, { as });
  expect(status).toBe(200);
  return (body as { pushes: Push[] }).pushes;
}

const names = (pushes: readonly Push[]): string[] =>
  pushes.map(({ repository, tag, origin }) => `${repository}:${tag} ${origin}`);

test('the list has pushes to central and those that nodes announced, latest first', async () => {
  const before = Date.now();
  await putImage('alice/app', 1, ['v1']);
  await putImage('alice/other', 2, ['v1'], { as: 'alice', host: NODE1 });
  await api('GET', 'organizations/alice/repositories/other/images/v1?wait=60', { as: 'alice', host: NODE1 });
  await putImage('bob/app', 3, ['v1'], { as: 'bob' });
  const pushes = await latest();
  expect(names(pushes)).toEqual(['bob/app:v1 central', 'alice/other:v1 node1', 'alice/app:v1 central']);
  for (const { pushed_at: at } of pushes) expect(Date.parse(at)).toBeGreaterThanOrEqual(before);
  expect(names(await latest('?n=1'))).toEqual(['bob/app:v1 central']);
});

test('a member sees the pushes to repositories that it may pull from, an administrator all', async () => {
  await putImage('alice/app', 1, ['v1']);
  await putImage('alice/secret', 2, ['v1']);
  await putImage('bob/app', 3, ['v1'], { as: 'bob' });
  const publish = { as: 'bob', body: { visibility: 'public' } } as const;
  expect((await api('PATCH', 'organizations/bob/repositories/app', publish)).status).toBe(200);
  expect(names(await latest('', 'alice'))).toEqual(['alice/secret:v1 central', 'alice/app:v1 central']);
  expect(names(await latest('', 'bob'))).toEqual(['bob/app:v1 central']);
  for (const as of ['platform', 'admin'] as const) expect(await latest('', as)).toHaveLength(3);
  for (const [rights, repositories, seen] of [
    [['pull'], ['alice/app'], ['alice/app:v1 central']],
    [['push'], ['alice/*'], []],
  ] as const) {
    const name = `only-${rights[0]}`;
    const created = await callApi('POST', 'organizations/alice/credentials', 'alice', { name, rights, repositories });
    const { secret } = await created.json<{ secret: string }>();
    const answer = await call('GET', '/api/pushes', { headers: { Authorization: `Basic ${btoa(`alice:${secret}`)}` } });
    expect(names((await answer.json<{ pushes: Push[] }>()).pushes)).toEqual(seen);
  }
});

test('pushes of others hide none of the last 2,000 documents', async () => {
  await putImage('alice/app', 1, ['v1']);
  const insert = (count: number): Promise<unknown> =>
    env.DB_CENTRAL.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       INSERT INTO manifest_contents (repository, digest, part, content)
       SELECT 'bob/many', ?1 || ':' || i, 0, '{}' FROM n`,
    )
      .bind(count)
      .run();
  await insert(1999);
  expect(await latest('?n=1', 'alice')).toHaveLength(1);
  await insert(1);
  expect(await latest('?n=1', 'alice')).toEqual([]);
});

test('the list has neither untagged manifests nor deleted ones', async () => {
  await putImage('alice/app', 1, ['kept']);
  await putImage('alice/app', 2, []);
  const { digest } = await putImage('alice/app', 3, ['gone']);
  await call('DELETE', `/v2/alice/app/manifests/${digest}`, { as: 'alice' });
  await putImage('alice/removed', 4, ['latest']);
  await call('DELETE', '/api/organizations/alice/repositories/removed', { as: 'alice' });
  expect(names(await latest())).toEqual(['alice/app:kept central']);
});

test('the list has a document of several parts once', async () => {
  await putImage('alice/app', 1, ['large']);
  await env.DB_CENTRAL.prepare(
    'INSERT INTO manifest_contents SELECT repository, digest, 1, content FROM manifest_contents',
  ).run();
  expect(names(await latest())).toEqual(['alice/app:large central']);
});

test('the list is empty while there are no pushes', async () => {
  expect(await latest()).toEqual([]);
});

describe('by the hour', () => {
  const central = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);
  const current = Math.floor(Date.now() / HOUR);

  // No hour ends during a test.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: current * HOUR + HOUR / 2 }));
  afterEach(() => void vi.useRealTimers());

  /** Runs the task some hours ago. */
  const note = (ago: number): Promise<unknown> =>
    goRound(openRun({ central, nodes: [], now: () => (current - ago) * HOUR + 60_000 }), documentsOfHour, central);

  async function byHour(query = ''): Promise<Record<string, number>> {
    const { status, body } = await api('GET', `pushes/hours${query}`, { as: 'admin' });
    expect(status).toBe(200);
    const { hours } = body as { hours: { at: string; manifests: number }[] };
    return Object.fromEntries(hours.map(({ at, manifests }) => [current - Date.parse(at) / HOUR, manifests]));
  }

  test('counts the manifests that are new to central, and writes one row an hour', async () => {
    expect(await byHour()).toEqual({});
    await note(3);
    await putImage('alice/app', 1, ['a']);
    await putImage('alice/app', 1, ['b']);
    await note(3);
    await putImage('alice/app', 2, ['c']);
    await note(2);
    await note(1);
    await putImage('alice/app', 3, ['d']);
    await note(0);
    await putImage('alice/app', 4, ['e']);
    expect(await byHour()).toEqual({ 3: 2, 2: 0, 1: 1, 0: 1 });
    expect(await byHour('?hours=2')).toEqual({ 1: 1, 0: 1 });
    const { rows } = (await env.DB_CENTRAL.prepare('SELECT count(*) AS rows FROM documents_by_hour').first()) as {
      rows: number;
    };
    expect(rows).toBe(4);
  });

  test('leaves out an hour if maintenance did not run when it ended', async () => {
    await note(5);
    await note(3);
    await note(2);
    expect(await byHour()).toEqual({ 3: 0 });
  });

  test('counts an hour that begins while maintenance notes the one before', async () => {
    let now = (current - 2) * HOUR - 1;
    const across: Task = {
      ...documentsOfHour,
      slice: async (...given) => {
        const slice = await documentsOfHour.slice(...given);
        now += 2;
        return slice;
      },
    };
    await goRound(openRun({ central, nodes: [], now: () => now }), across, central);
    await note(2);
    await note(1);
    expect(await byHour()).toEqual({ 3: 0, 2: 0 });
  });

  test('goes back 90 days', async () => {
    await note(2160);
    await note(2159);
    await note(0);
    const { results } = await env.DB_CENTRAL.prepare('SELECT hour FROM documents_by_hour ORDER BY hour').all();
    expect(results.map(({ hour }) => current - Number(hour))).toEqual([2159, 0]);
  });
});
