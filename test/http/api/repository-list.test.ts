/** The repositories that a caller may pull from, by name and by last push. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HOUR } from '../../../src/durations.ts';
import { call, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { api, applyChangeLog, NODE1, startQueues, stopQueues } from '../../support/queues.ts';

beforeEach(startQueues);
afterEach(stopQueues);

interface Listed {
  readonly name: string;
  readonly visibility: string;
  readonly pushed_at: string;
  readonly pulled_at: string | null;
  readonly tags: number;
  readonly more_tags: boolean;
  readonly bytes: number | null;
}

interface Page {
  readonly repositories: readonly Listed[];
  readonly last: string | null;
  readonly complete: boolean;
}

async function page(query = '', as: UserName = 'alice', host?: string): Promise<Page> {
  const { status, body } = await api('GET', `repositories?${query}`, { as, ...(host !== undefined && { host }) });
  expect([query, status]).toEqual([query, 200]);
  return body as Page;
}

/** Returns the names on all pages, each of which has at most `n`. */
async function namesOf(query: string, n = 50, as: UserName = 'alice'): Promise<string[]> {
  const names: string[] = [];
  for (let last: string | null = ''; last !== null;) {
    const found: Page = await page(`${query}&n=${n}&last=${encodeURIComponent(last)}`, as);
    expect(found.repositories.length).toBeLessThanOrEqual(n);
    names.push(...found.repositories.map(({ name }) => name));
    last = found.last;
  }
  return names;
}

/** Makes a repository's last push, and its creation, that much earlier. */
const pushed = (name: string, hoursAgo: number): Promise<unknown> =>
  env.DB_CENTRAL.prepare(
    'UPDATE repositories SET last_push = last_push - ?2, created_at = created_at - ?2 WHERE name = ?1',
  )
    .bind(name, hoursAgo * HOUR)
    .run();

const publish = (repository: string, as: UserName): Promise<{ status: number }> =>
  api('PATCH', `organizations/${repository.replace('/', '/repositories/')}`, { as, body: { visibility: 'public' } });

describe('the list of repositories', () => {
  beforeEach(async () => {
    for (const [i, name] of ['alice/app', 'alice/base', 'alice/web'].entries()) await putImage(name, i, ['latest']);
    for (const [i, name] of ['bob/open', 'bob/secret'].entries()) await putImage(name, 5 + i, ['a'], { as: 'bob' });
    expect((await publish('bob/open', 'bob')).status).toBe(200);
    await Promise.all([pushed('alice/app', 2), pushed('alice/web', 5)]);
  });

  test.each([1, 2, 50])('has the repositories of the catalog, by name, with %i on a page', async (n) => {
    for (const as of ['alice', 'bob', 'aliceReader', 'platform', 'admin'] as const) {
      const catalog = await (await call('GET', '/v2/_catalog', { as })).json<{ repositories: string[] }>();
      expect([as, await namesOf('', n, as)]).toEqual([as, catalog.repositories]);
    }
  });

  test.each([1, 2, 50])('of an organization puts the most recently pushed first, with %i on a page', async (n) => {
    expect(await namesOf('sort=pushed', n)).toEqual(['alice/base', 'alice/app', 'alice/web']);
    expect(await namesOf('sort=pushed&organization=bob', n)).toEqual(['bob/open']);
    expect(await namesOf('sort=pushed&organization=alice', n, 'bob')).toEqual([]);
  });

  test('shows only repositories that start with a prefix, or are of one organization', async () => {
    expect(await namesOf('prefix=alice/b')).toEqual(['alice/base']);
    expect(await namesOf('prefix=bob/')).toEqual(['bob/open']);
    expect(await namesOf('organization=bob')).toEqual(['bob/open']);
    expect(await namesOf('sort=pushed&prefix=alice/w')).toEqual(['alice/web']);
    expect(await namesOf('prefix=nothing')).toEqual([]);
  });

  test('moves a repository up when a node announces a push, but not when a tag is deleted', async () => {
    await applyChangeLog();
    expect((await call('DELETE', '/v2/alice/web/manifests/latest', { as: 'alice' })).status).toBe(202);
    expect((await namesOf('sort=pushed')).at(-1)).toBe('alice/web');
    await putImage('alice/web', 9, ['next'], { as: 'alice', host: NODE1 });
    const state = 'organizations/alice/repositories/web/images/next?wait=5&for=announced';
    await api('GET', state, { as: 'alice', host: NODE1 });
    expect((await namesOf('sort=pushed'))[0]).toBe('alice/web');
  });

  test('counts tags, and shows the last pull from any store', async () => {
    const { repositories } = await page('prefix=alice/app');
    expect(repositories).toMatchObject([{ visibility: 'private', pulled_at: null, tags: 1, more_tags: false }]);
    await applyChangeLog();
    const pull = await call('GET', '/v2/alice/app/manifests/latest', { as: 'alice', host: NODE1 });
    expect(pull.status).toBe(200);
    await call('GET', '/v2/alice/base/manifests/latest', { as: 'alice' });
    const { repositories: after, complete } = await page('prefix=alice/');
    expect([complete, after.map(({ pulled_at: at }) => at !== null)]).toEqual([true, [true, true, false]]);
  });

  test('shows the bytes of those that were among the largest when they were measured', async () => {
    const measured = (since: number): Promise<unknown> =>
      env.DB_CENTRAL.prepare('INSERT OR REPLACE INTO largest_repositories VALUES (?1, ?2, ?3)')
        .bind('alice', since, JSON.stringify({ largest: [{ name: 'alice/app', bytes: 5000 }] }))
        .run();
    const bytes = async (): Promise<readonly (number | null)[]> =>
      (await page('prefix=alice/')).repositories.map((each) => each.bytes);
    await env.DB_CENTRAL.prepare("UPDATE organizations SET created_at = 1000 WHERE name = 'alice'").run();
    await measured(2000);
    expect(await bytes()).toEqual([5000, null, null]);
    // Those were of an earlier organization with this name.
    await measured(500);
    expect(await bytes()).toEqual([null, null, null]);
  });

  test('counts no more than 100 tags of a repository', async () => {
    await env.DB_CENTRAL.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 130)
       INSERT INTO tags (repository, name, digest, version, origin, visible)
       SELECT t.repository, 't' || i, t.digest, t.version, t.origin, 1 FROM n CROSS JOIN tags t
       WHERE t.repository = 'alice/app' AND t.name = 'latest'`,
    ).run();
    expect((await page('prefix=alice/app')).repositories).toMatchObject([{ tags: 100, more_tags: true }]);
  });

  test.each([
    ['sort=size', 'alice', 'sort'],
    ['sort=pushed', 'platform', 'organization'],
    ['sort=pushed&last=alice/app', 'alice', 'last'],
    ['n=0', 'alice', 'n'],
  ] as const)('refuses %s from %s', async (query, as, field) => {
    const { status, body } = await api('GET', `repositories?${query}`, { as });
    expect([status, body]).toMatchObject([400, { errors: [{ message: expect.stringMatching(`^${field}: `) }] }]);
  });
});
