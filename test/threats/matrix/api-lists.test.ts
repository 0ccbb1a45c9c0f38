/** Lists of the management API: each caller sees only what it administers. The rule is in `rule.ts`. */
import { env } from 'cloudflare:workers';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { everyManager, type Identity, USERS_OF_MATRIX, VICTIM } from './callers.ts';
import { AT_CENTRAL, organizationOf, REPOSITORIES } from './repositories.ts';
import { expectedOfApi } from './rule.ts';
import { createWorld, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld(AT_CENTRAL);
});
// The setup empties the store before each test.
beforeEach(() => world.restore());

describe('a list shows no caller more than it administers', () => {
  const AUDITED = [...REPOSITORIES.map(({ name }) => name), ''];

  /** Adds an entry for each repository, and one for a credential, all made by someone other than the caller. */
  async function fillLog(): Promise<void> {
    const insert = env.DB_CENTRAL.prepare(
      `INSERT INTO audit (at, action, organization, repository, key, subject, name, host)
       VALUES (1, ?1, ?2, ?3, ?4, 'someone', 'someone', '')`,
    );
    await env.DB_CENTRAL.batch(
      AUDITED.map((repository) =>
        repository === ''
          ? insert.bind('create credential', 'alice', '', VICTIM.name)
          : insert.bind('delete tag', organizationOf(repository), repository, 'latest'),
      ),
    );
  }

  const LISTS: Readonly<Record<string, (identity: Identity) => string[]>> = {
    repositories: (identity) =>
      REPOSITORIES.filter(({ name, state }) => state !== 'absent' && manages(identity, name)).map(({ name }) => name),
    // A pattern is replaced by a name that no narrower pattern covers.
    credentials: (identity) =>
      USERS_OF_MATRIX.filter(
        ({ organization, repositories }) =>
          organization === 'alice' &&
          (repositories ?? ['alice/*']).every((pattern) => manages(identity, pattern.replace('*', 'any/thing'))),
      ).map(({ name }) => name),
    audit: (identity) =>
      AUDITED.filter((name) => (name === '' ? manages(identity, 'alice/any/thing') : manages(identity, name))),
  };
  const NAMES: Readonly<Record<string, (body: never) => string[]>> = {
    repositories: ({ repositories }: { repositories: { name: string }[] }) => repositories.map(({ name }) => name),
    credentials: ({ credentials }: { credentials: { name: string }[] }) => credentials.map(({ name }) => name),
    audit: ({ entries }: { entries: { repository: string | null; action: string }[] }) =>
      entries.filter(({ action }) => action !== 'refuse login').map(({ repository }) => repository ?? ''),
  };

  function manages(identity: Identity, repository: string): boolean {
    if (organizationOf(repository) !== 'alice') return false;
    return identity.kind === 'administrator' || (identity.kind === 'organization' && identity.covers.test(repository));
  }

  const managers = everyManager(AT_CENTRAL.host).filter(
    (caller) =>
      expectedOfApi(caller, { needs: 'organization' }, { repository: 'alice/closed', isPublic: false }, [200]).allowed,
  );

  test.each(managers)('$name', async (caller) => {
    const authorization = await caller.authorization(world.registry);
    await fillLog();
    for (const [list, expected] of Object.entries(LISTS)) {
      const names: string[] = [];
      for (let query = ''; ;) {
        const response = await world.ask('GET', `/api/organizations/alice/${list}?n=2${query}`, authorization);
        expect(response.status).toBe(200);
        const body = await response.json<{ last?: string | null }>();
        const page = NAMES[list]!(body as never);
        names.push(...page);
        const last = list === 'audit' ? body.last : page.length === 2 ? page[1] : null;
        if (last === null || last === undefined) break;
        query = `&last=${encodeURIComponent(last)}`;
      }
      expect([list, names.toSorted()]).toEqual([list, expected(caller.identity).toSorted()]);
    }
  });
});
