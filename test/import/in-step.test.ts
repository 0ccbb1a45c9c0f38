/** Imports that are kept in step with their upstream. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { importsOf } from '../../src/import/durable-object.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { addUsers, callApi } from '../support/client.ts';
import { runImports, startImport, stopImports } from '../support/imports.ts';
import { type UpstreamImage, upstreamImage } from '../support/upstream-image.ts';

const ID = '44444444-4444-4444-8444-444444444444';
const HOUR = 3_600_000;
const IN_STEP = { every: HOUR };
const PRUNING = { every: HOUR, prunes: true };
const NAMED = ['1', '2'];
const imports = () => importsOf(env, 'alice' as OrganizationName);

/** The images of the upstream's only repository; undefined while the upstream hides it. */
let images: UpstreamImage[] | undefined;
/** Overrides the answer to a request for the list of tags. Without it, the answer lists the tags of `images`. */
let list: (() => Response) | undefined;
let requests: string[];

beforeEach(async () => {
  await addUsers();
  images = [await upstreamImage('app', '1', 1), await upstreamImage('app', '2', 2)];
  list = undefined;
  requests = [];
  vi.stubGlobal('fetch', async ({ pathname }: URL, { method = 'GET' }: RequestInit) => {
    requests.push(`${method} ${pathname}`);
    if (images !== undefined && pathname === '/v2/_catalog') return Response.json({ repositories: ['app'] });
    if (list !== undefined && pathname.endsWith('/tags/list')) return list();
    if (images !== undefined && pathname.endsWith('/tags/list'))
      return Response.json({ tags: images.map(({ tag }) => tag) });
    const answers = (images ?? []).map((image) => image.answer({ pathname } as URL, method));
    return answers.find(({ ok }) => ok) ?? new Response(null, { status: 404 });
  });
});
afterEach(stopImports);

const run = () => runImports('alice', ID);

/** Returns the tags of alice/app here, each with its digest. */
async function tagsHere(): Promise<Record<string, string>> {
  const rows = await env.DB_CENTRAL.prepare(
    "SELECT name, digest FROM tags WHERE repository = 'alice/app' AND digest IS NOT NULL",
  ).all<{ name: string; digest: string }>();
  return Object.fromEntries(rows.results.map(({ name, digest }) => [name, digest]));
}

const tagsThere = () => Object.fromEntries((images ?? []).map(({ tag, digest }) => [tag, digest]));

async function everyRow(): Promise<string> {
  const tables = await env.DB_CENTRAL.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all<{
    name: string;
  }>();
  const names = tables.results.map(({ name }) => name).filter((name) => !/^(?:sqlite|_cf|d1)_/.test(name));
  const rows = await env.DB_CENTRAL.batch(names.map((name) => env.DB_CENTRAL.prepare(`SELECT * FROM ${name}`)));
  return JSON.stringify(rows.map(({ results }) => results));
}

test('new and moved tags come with the next run', async () => {
  await startImport('alice', ID, { request: IN_STEP });
  const before = Date.now();
  const first = await run();
  expect(first).toMatchObject({ state: 'waiting', endedAt: undefined, manifests: { copied: 2 }, tags: { done: 2 } });
  expect(first.nextRunAt).toBeGreaterThan(before);
  expect(await tagsHere()).toEqual(tagsThere());
  images = [await upstreamImage('app', '1', 3), await upstreamImage('app', '2', 2), await upstreamImage('app', '3', 1)];
  expect(await run()).toMatchObject({ state: 'waiting', manifests: { copied: 2, present: 1 }, tags: { done: 3 } });
  expect(await tagsHere()).toEqual(tagsThere());
});

test.each([IN_STEP, PRUNING])(
  'a tag that has not changed costs a HEAD at the upstream and no write in this registry: %j',
  async (request) => {
    await startImport('alice', ID, { request });
    await run();
    const before = await everyRow();
    requests.length = 0;
    expect(await run()).toMatchObject({ state: 'waiting', manifests: { copied: 0, present: 2 } });
    expect(requests).toEqual(['GET /v2/app/tags/list', 'HEAD /v2/app/manifests/1', 'HEAD /v2/app/manifests/2']);
    expect(await everyRow()).toBe(before);
  },
);

test('a tag that the upstream has removed stays, unless the import prunes', async () => {
  await startImport('alice', ID, { request: IN_STEP });
  await run();
  images?.pop();
  expect(await run()).toMatchObject({ state: 'waiting', removed: 0, tags: { done: 1 } });
  expect(Object.keys(await tagsHere())).toEqual(['1', '2']);
});

test.each([
  { label: 'all tags', tags: ['*'] },
  { label: 'named tags', tags: NAMED },
])('pruning removes tags that the upstream has removed, when the import asks for $label', async ({ tags }) => {
  await startImport('alice', ID, { request: { ...PRUNING, tags } });
  await run();
  images?.pop();
  expect(await run()).toMatchObject({ state: 'waiting', removed: 1 });
  expect(await tagsHere()).toEqual(tagsThere());
  expect(await run()).toMatchObject({ state: 'waiting', removed: 0 });
});

test('pruning spares a tag moved in this registry, and a repository that the upstream no longer shows', async () => {
  await startImport('alice', ID, { request: PRUNING });
  await run();
  const [first] = images ?? [];
  await env.DB_CENTRAL.prepare("UPDATE tags SET digest = ?1 WHERE name = '2'").bind(first?.digest).run();
  const all = images;
  images = undefined;
  expect(await run()).toMatchObject({ state: 'waiting', removed: 0, skipped: 1 });
  expect(Object.keys(await tagsHere())).toEqual(['1', '2']);
  images = all?.slice(0, 1);
  expect(await run()).toMatchObject({ state: 'waiting', removed: 0, skipped: 0 });
  expect(Object.keys(await tagsHere())).toEqual(['1', '2']);
});

const HIDDEN = () => new Response(null, { status: 404 });
const REFUSED = () => new Response(null, { status: 403 });

test.each<[string, string[], () => Response]>([
  ['that the upstream hides, when all tags are imported', ['*'], HIDDEN],
  ['that the upstream hides, when tags are named', NAMED, HIDDEN],
  ['whose tags the upstream refuses to list, when tags are named', NAMED, REFUSED],
  ['whose list has no `tags`, when all tags are imported', ['*'], () => Response.json({})],
  ['whose list has `tags` that are not an array, when tags are named', NAMED, () => Response.json({ tags: {} })],
])('pruning spares a repository %s', async (_, tags, answer) => {
  await startImport('alice', ID, { request: { ...PRUNING, tags } });
  await run();
  images = [];
  list = answer;
  expect(await run()).toMatchObject({ state: 'waiting', removed: 0 });
  expect(Object.keys(await tagsHere())).toEqual(NAMED);
});

test.each([{ tags: [] }, { tags: null }])(
  "pruning removes all tags if the upstream's list is empty: %j",
  async (body) => {
    await startImport('alice', ID, { request: PRUNING });
    await run();
    images = [];
    list = () => Response.json(body);
    expect(await run()).toMatchObject({ state: 'waiting', removed: 2, skipped: 0 });
  },
);

test('named tags come from an upstream that refuses its list', async () => {
  list = REFUSED;
  await startImport('alice', ID, { request: { ...PRUNING, tags: NAMED } });
  expect(await run()).toMatchObject({ state: 'waiting', tags: { done: 2, total: 2 }, repositories: { done: 1 } });
  expect(await tagsHere()).toEqual(tagsThere());
});

test('after a failed run, the next one still runs, and its report repeats nothing of the failed one', async () => {
  await startImport('alice', ID, { request: { ...IN_STEP, repositories: ['a*'] } });
  const all = images;
  images = undefined;
  expect(await run()).toMatchObject({ state: 'waiting', error: expect.stringContaining('does not list') });
  images = all;
  expect(await run()).toMatchObject({ state: 'waiting', error: undefined, tags: { done: 2, total: 2 }, report: [] });
});

test('an import in step is stopped like any other, and forgets its credential and its tags', async () => {
  await startImport('alice', ID, { request: PRUNING, credential: { user: 'ci', secret: 'a-secret-of-an-upstream' } });
  await run();
  const path = `organizations/alice/imports/${ID}`;
  const shown = await (await callApi('GET', path, 'alice')).json();
  expect(shown).toMatchObject({ state: 'waiting', every_seconds: 3600, prune: true, ended_at: null });
  expect(shown).toMatchObject({ last_run_at: expect.any(String), next_run_at: expect.any(String) });
  expect(await (await callApi('DELETE', path, 'alice')).json()).toMatchObject({
    state: 'cancelled',
    next_run_at: null,
  });
  await runInDurableObject(imports(), (_imports, { storage }) => {
    expect(JSON.stringify(storage.sql.exec('SELECT * FROM imports').toArray())).not.toContain('a-secret');
    expect(storage.sql.exec('SELECT * FROM followed_tags').toArray()).toEqual([]);
  });
  requests.length = 0;
  expect(await run()).toMatchObject({ state: 'cancelled' });
  expect(requests).toEqual([]);
});

test('an organization keeps at most 20 imports in step', async () => {
  const request = { from: 'https://upstream.example', repositories: ['app'] };
  const inStep = { ...request, every_seconds: 3600 };
  for (let i = 0; i < 20; i++) {
    await startImport('alice', ID.replace(/^44/, String(10 + i)), { request: IN_STEP });
  }
  expect((await callApi('POST', 'organizations/alice/imports', 'alice', inStep)).status).toBe(429);
  expect((await callApi('POST', 'organizations/alice/imports', 'alice', request)).status).toBe(202);
});
