/** Imports over the management API. test/processes/import.test.ts checks the copies. */
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { importsOf } from '../../../src/import/durable-object.ts';
import { Imports } from '../../../src/import/imports.ts';
import { MAX_SKIPPED } from '../../../src/import/run-state.ts';
import type { OrganizationName } from '../../../src/oci/reference.ts';
import { addCredentials, addUsers, basic, callApi, type CallOptions } from '../../support/client.ts';
import { startImport, stopImports } from '../../support/imports.ts';

const DAY = 86_400_000;
const ALICE = 'alice' as OrganizationName;
const PATH = 'organizations/alice/imports';
const ID = '33333333-3333-4333-8333-333333333333';
const REQUEST = { from: 'https://upstream.example', repositories: ['app'] };
const imports = () => importsOf(env, ALICE);

interface Report {
  readonly id: string;
  readonly state: string;
  readonly error: string | null;
  readonly waits_until: string | null;
  readonly tags: { readonly done: number; readonly total: number };
  readonly skipped: number;
  readonly report: readonly { readonly what: string; readonly reason: string }[];
}

/** Answers for the upstream. */
let upstream: (url: URL) => Response;

beforeEach(async () => {
  await addUsers();
  upstream = () => new Response(null, { status: 404 });
  vi.stubGlobal('fetch', async (url: URL) => upstream(url));
});
afterEach(stopImports);

type As = CallOptions['as'];

async function ask(method: string, path: string, as: As = 'alice', body?: object) {
  const answer = await callApi(method, path, as, body);
  return { status: answer.status, body: await answer.json<Report & { imports: Report[]; errors: object[] }>() };
}

async function start(fields: object = {}, as: As = 'alice'): Promise<Report> {
  const answer = await ask('POST', PATH, as, { ...REQUEST, ...fields });
  expect([answer.status, answer.body]).toMatchObject([202, { state: 'running' }]);
  return answer.body;
}

/** Runs everything that is due, and returns an import. */
async function ran(id: string): Promise<Report> {
  await runDurableObjectAlarm(imports());
  return (await ask('GET', `${PATH}/${id}`)).body;
}

test('an import shows what it skipped, and never its credential', async () => {
  const secret = 'the-secret-of-the-upstream';
  const { id } = await start({ credential: { user: 'ci', secret } });
  const ended = await ran(id);
  expect(ended).toMatchObject({ state: 'done', error: null, skipped: 1, report: [{ what: 'app' }] });
  expect(JSON.stringify(ended)).not.toContain(secret);
  await runInDurableObject(imports(), (_imports, { storage }) => {
    const rows = storage.sql.exec('SELECT * FROM imports').toArray();
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain(secret);
  });
  const { body } = await ask('GET', PATH);
  expect(body.imports).toMatchObject([{ id, state: 'done', skipped: 1 }]);
  expect(body.imports[0]).not.toHaveProperty('report');
});

test('the start and the cancellation of an import are in the audit log', async () => {
  const { id } = await start();
  expect(await ask('DELETE', `${PATH}/${id}`)).toMatchObject({ status: 200, body: { state: 'cancelled' } });
  expect(await ask('DELETE', `${PATH}/${id}`)).toMatchObject({ status: 200, body: { state: 'cancelled' } });
  const log = await callApi('GET', 'organizations/alice/audit', 'alice');
  const { entries } = await log.json<{ entries: object[] }>();
  expect(entries).toMatchObject([
    { action: 'cancel import', key: id },
    { action: 'start import', key: id },
  ]);
});

test('a credential that was removed, but still logs in, starts no import', async () => {
  const robot = { kind: 'organization', id: 'gone', name: 'robot', organization: ALICE } as const;
  const { from, repositories } = REQUEST;
  const asked = { from, repositories, tags: ['*'], as: '*', loginHost: undefined, platforms: undefined };
  const request = { ...asked, referrers: false, isDry: false, every: undefined, prunes: false };
  const caller = { ...robot, rights: ['push', 'admin'], repositories: ['alice/*'] } as const;
  const starting = new Imports(parseConfig(env), env, ALICE).start(request, caller, undefined);
  await expect(starting).rejects.toMatchObject({ kind: 'UNAUTHORIZED' });
  expect((await ask('GET', PATH)).body.imports).toEqual([]);
});

describe('an import ends', () => {
  test('when the credential that started it is removed', async () => {
    await addCredentials([{ kind: 'organization', name: 'robot', password: 'robot-password', organization: 'alice' }]);
    const robot = { authorization: basic({ name: 'robot', password: 'robot-password' }) };
    upstream = () => new Response(null, { status: 503, headers: { 'Retry-After': '3600' } });
    const { id } = await start({}, robot);
    expect(await ran(id)).toMatchObject({ state: 'running', waits_until: expect.any(String) });
    await env.DB_CENTRAL.prepare("DELETE FROM credentials WHERE name = 'robot'").run();
    await makeDue();
    expect(await ran(id)).toMatchObject({ state: 'failed', error: expect.stringContaining('was removed') });
  });

  test('when its organization is removed, and the next one of that name does not see it', async () => {
    await startImport('alice', ID);
    await makeDue();
    await env.DB_CENTRAL.prepare("UPDATE organizations SET created_at = created_at + 1 WHERE name = 'alice'").run();
    await runDurableObjectAlarm(imports());
    expect(await ask('GET', `${PATH}/${ID}`)).toMatchObject({ status: 404 });
    expect((await ask('GET', PATH)).body.imports).toEqual([]);
    await runInDurableObject(imports(), (_imports, { storage }) => {
      expect(storage.sql.exec('SELECT state FROM imports').toArray()).toEqual([{ state: 'failed' }]);
    });
  });
});

test('an image that the upstream refuses is skipped, and the import goes on', async () => {
  upstream = ({ pathname }) => {
    if (pathname.endsWith('/tags/list')) return Response.json({ tags: ['1', '2'] });
    return new Response(null, { status: pathname.endsWith('/1') ? 403 : 404 });
  };
  const { id } = await start();
  const ended = await ran(id);
  expect(ended).toMatchObject({ state: 'done', tags: { done: 2, total: 2 } });
  expect(ended.report).toMatchObject([
    { what: 'app:1', reason: expect.stringContaining('status 403') },
    { what: 'app:2', reason: 'the upstream has no such tag' },
  ]);
});

test('the report is bounded, and the rest is counted', async () => {
  const tags = Array.from({ length: MAX_SKIPPED + 20 }, (_, i) => `t${i}`);
  upstream = ({ pathname }) =>
    pathname.endsWith('/tags/list') ? Response.json({ tags }) : new Response(null, { status: 404 });
  const { id } = await start();
  const ended = await ran(id);
  expect(ended).toMatchObject({ state: 'done', skipped: MAX_SKIPPED + 20 });
  expect(ended.report).toHaveLength(MAX_SKIPPED);
});

test('a list of an upstream that does not end is given up', async () => {
  let pages = 0;
  upstream = (url) => {
    if (!url.pathname.endsWith('/tags/list')) return new Response(null, { status: 404 });
    pages += 1;
    return Response.json({ tags: [] }, { headers: { Link: `<${url.pathname}?last=${pages}>; rel="next"` } });
  };
  const { id } = await start();
  expect(await ran(id)).toMatchObject({ report: [{ reason: expect.stringContaining('does not end') }] });
  expect(pages).toBeLessThan(2000);
});

test('an organization runs at most ten imports at once', async () => {
  for (let i = 0; i < 10; i++) await startImport('alice', ID.replace(/^./, String(i)));
  const refused = await ask('POST', PATH, 'alice', REQUEST);
  expect(refused).toMatchObject({ status: 429, body: { errors: [{ code: 'TOOMANYREQUESTS' }] } });
});

test('an import is shown for 30 days', async () => {
  const { id } = await start();
  await ran(id);
  await runInDurableObject(imports(), (_imports, { storage }) => {
    storage.sql.exec('UPDATE imports SET ended_at = ?', Date.now() - 31 * DAY);
  });
  await runDurableObjectAlarm(imports());
  expect((await ask('GET', `${PATH}/${id}`)).status).toBe(404);
});

test('an admin of a part of the organization sees only imports into that part, and its own', async () => {
  const limited = {
    kind: 'organization',
    name: 'limited',
    password: 'limited-password',
    organization: 'alice',
  } as const;
  await addCredentials([{ ...limited, repositories: ['alice/team/*'] }]);
  const as = { authorization: basic(limited) } as As;
  await startImport('alice', ID);
  expect((await ask('GET', PATH, as)).body.imports).toEqual([]);
  for (const method of ['GET', 'DELETE']) expect((await ask(method, `${PATH}/${ID}`, as)).status).toBe(404);
  expect(await ask('POST', PATH, as, REQUEST)).toMatchObject({ status: 403, body: { errors: [{ code: 'DENIED' }] } });
  const { id } = await start({ repositories: ['team/app'] }, as);
  expect((await ask('GET', PATH, as)).body.imports).toMatchObject([{ id }]);
  expect((await ask('GET', `${PATH}/${id}`)).status).toBe(200);
});

/** Makes the imports that wait due. */
function makeDue(): Promise<void> {
  return runInDurableObject(imports(), async (_imports, { storage }) => {
    storage.sql.exec('UPDATE imports SET due_at = 0');
    await storage.setAlarm(Date.now() + DAY);
  });
}
