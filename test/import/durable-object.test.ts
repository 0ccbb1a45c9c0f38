/** The turns and runs of imports. test/processes/import.test.ts checks the copies. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { importsOf } from '../../src/import/durable-object.ts';
import { ImportsState } from '../../src/import/import-state.ts';
import { MAX_ATTEMPTS, MAX_STARTS } from '../../src/upstream/failure.ts';
import { OciError } from '../../src/oci/errors.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { StatementMeter } from '../../src/stores/statement-meter.ts';
import { ImportWork } from '../../src/import/work.ts';
import { addUsers } from '../support/client.ts';
import { runImports, startImport, stopImports } from '../support/imports.ts';
import { upstreamImage } from '../support/upstream-image.ts';

const ID = '33333333-3333-4333-8333-333333333333';
const HOUR = 3_600_000;
const imports = () => importsOf(env, 'alice' as OrganizationName);

/** Answers for the upstream. */
let upstream: (url: URL, method: string) => Response;

beforeEach(async () => {
  await addUsers();
  upstream = () => new Response(null, { status: 404 });
  vi.stubGlobal('fetch', async (url: URL, { method = 'GET' }: RequestInit) => upstream(url, method));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await stopImports();
});

function inside<T>(look: (sql: SqlStorage) => T): Promise<T> {
  return runInDurableObject(imports(), (_of, { storage }) => look(storage.sql));
}

const run = () => runImports('alice', ID);

test('an import that is cancelled while it is looked up ends as cancelled', async () => {
  await startImport('alice', ID);
  const look = vi.spyOn(ControlData.prototype, 'organization');
  look.mockImplementationOnce(async function (this: ControlData, name) {
    const row = await ControlData.prototype.organization.call(this, name);
    await imports().cancel(ID, Number(row?.created_at));
    return row;
  });
  expect(await run()).toMatchObject({ state: 'cancelled', error: undefined });
});

test('the organization of an import is looked up once in a run, and that counts as a statement', async () => {
  upstream = ({ pathname }) =>
    pathname.endsWith('/tags/list') ? Response.json({ tags: ['1', '2', '3'] }) : new Response(null, { status: 404 });
  await startImport('alice', ID);
  const look = vi.spyOn(ControlData.prototype, 'organization');
  const count = vi.spyOn(StatementMeter.prototype, 'count');
  expect(await run()).toMatchObject({ state: 'done', skipped: 3 });
  expect(look).toHaveBeenCalledTimes(1);
  expect(count.mock.calls).toEqual([[1]]);
});

test('an image of 210 layers is copied in a few runs', async () => {
  const image = await upstreamImage('app', '1', 210);
  upstream = image.answer;
  await startImport('alice', ID, { madeAt: Date.now() });
  let report = await run();
  for (let runs = 1; runs < 15 && report.state === 'running'; runs++) report = await run();
  expect(report).toMatchObject({ state: 'done', skipped: 0, blobs: { copied: 211, present: 0 } });
  expect(Math.max(...image.sent.values())).toBe(1);
});

test('an image with which three runs get no further is skipped', async () => {
  const { answer } = await upstreamImage('app', '1', 1);
  upstream = (url, method) =>
    url.pathname.endsWith('/1')
      ? new Response(null, { status: 503, headers: { 'Retry-After': '60' } })
      : answer(url, method);
  await startImport('alice', ID);
  expect(await run()).toMatchObject({ state: 'running', tags: { total: 1 } });
  await inside((sql) => sql.exec('UPDATE imports SET starts = ?', MAX_STARTS));
  const report = await run();
  expect(report).toMatchObject({ state: 'done', tags: { done: 1 }, skipped: 1 });
  expect(report.report).toMatchObject([{ what: 'app:1', reason: expect.stringContaining('got no further') }]);
});

describe('after five waits that the upstream asked for', () => {
  const postponed = () => new Response(null, { status: 503, headers: { 'Retry-After': '60' } });
  const unavailable = () => Promise.reject(new OciError('UNAVAILABLE'));

  test('an import goes on, although the database did not answer for it', async () => {
    upstream = postponed;
    await startImport('alice', ID);
    for (let i = 0; i < 5; i++) await run();
    vi.spyOn(ControlData.prototype, 'organization').mockImplementationOnce(unavailable);
    expect(await run()).toMatchObject({ state: 'running', error: undefined });
    await inside((sql) => sql.exec('UPDATE imports SET failures = 100'));
    vi.spyOn(ControlData.prototype, 'organization').mockImplementationOnce(unavailable);
    expect(await run()).toMatchObject({ state: 'running', error: undefined });
  });

  test('a page of the catalog has all of its attempts', async () => {
    await startImport('alice', ID, { request: { repositories: ['a*'] } });
    await inside((sql) => sql.exec('UPDATE imports SET failures = 5'));
    vi.spyOn(ImportWork.prototype, 'take').mockImplementation(unavailable);
    for (let i = 1; i < MAX_ATTEMPTS; i++) expect(await run()).toMatchObject({ state: 'running' });
    expect(await run()).toMatchObject({ state: 'failed' });
  });

  test('a removal has all of its attempts', async () => {
    upstream = ({ pathname }) =>
      pathname.endsWith('/tags/list') ? Response.json({ tags: [] }) : new Response(null, { status: 404 });
    await startImport('alice', ID, { request: { every: HOUR, prunes: true } });
    const gone = ['app', '1', 'alice/app', `sha256:${'0'.repeat(64)}`];
    await inside((sql) => {
      const columns = 'import, repository, tag, target, digest, run';
      sql.exec(`INSERT INTO followed_tags (${columns}) VALUES (?, ?, ?, ?, ?, 0)`, ID, ...gone);
      sql.exec('UPDATE repositories SET is_listed = 1, is_whole = 1');
      sql.exec('UPDATE imports SET failures = 5');
    });
    vi.spyOn(ImportWork.prototype, 'take').mockImplementation(unavailable);
    for (let i = 1; i < MAX_ATTEMPTS; i++) expect(await run()).toMatchObject({ state: 'running', skipped: 0 });
    expect(await run()).toMatchObject({ state: 'waiting', skipped: 1 });
  });
});

test('a blob that went before its manifest came is copied again', async () => {
  const image = await upstreamImage('app', '1', 2);
  upstream = image.answer;
  await startImport('alice', ID);
  await inside((sql) => sql.exec('INSERT INTO blobs VALUES (?, ?, ?)', ID, image.layers[0], 'alice/app'));
  expect(await run()).toMatchObject({ state: 'running' });
  expect(await run()).toMatchObject({ state: 'done', skipped: 0 });
});

test('an import for which too little was left of a run has the next turn, and loses no start', async () => {
  await startImport('alice', ID);
  await runInDurableObject(imports(), (_of, { storage }) => {
    const state = new ImportsState(storage.sql);
    state.serve(ID, 1000);
    state.serveAgain(ID);
    expect(state.nextDue(Number.MAX_SAFE_INTEGER)).toMatchObject({ id: ID, starts: 0 });
    expect(storage.sql.exec('SELECT served_at FROM imports').toArray()).toEqual([{ served_at: 0 }]);
  });
});
