/**
 * The permission rule as a matrix: every caller, in every way that it can present itself, does everything to every
 * repository. Each caller's permissions are written by hand below; none is computed from its credential.
 */
import { describe, expect, test } from 'vitest';
import { AccessTokens, issueAccessToken } from '../../src/auth/access-token.ts';
import { authorize, authorizeCatalog, type Decision, mayMountFrom, pullable } from '../../src/auth/authorize.ts';
import type { Action, Credential } from '../../src/auth/credential.ts';
import { ANONYMOUS, type Principal } from '../../src/auth/principal.ts';
import { formatScope, parseScopes } from '../../src/auth/scope.ts';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import { type OrganizationName, parseRepositoryName } from '../../src/oci/reference.ts';

const NOW = 1_800_000_000_000;
const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

const REPOSITORIES = [
  'alice/app',
  'alice/app2',
  'alice/team/tool',
  'alice/team2/tool',
  'alice-x/app',
  'bob/app',
  'official/base',
] as const;
type Repository = (typeof REPOSITORIES)[number];
type Powers = Partial<Record<Repository, readonly Action[]>>;

interface Caller {
  readonly credential: Credential | undefined;
  /**
   * The actions that the caller may do if its scopes suffice. It may do nothing to a repository that is left out,
   * except pull from it while it is public.
   */
  readonly may: Powers;
}

function inOrganization(organization: string, rights: readonly Action[], repositories: readonly string[]): Credential {
  return {
    kind: 'organization',
    id: organization,
    organization: organization as OrganizationName,
    rights,
    repositories,
  };
}

function everywhereInAlice(actions: readonly Action[]): Powers {
  return {
    'alice/app': actions,
    'alice/app2': actions,
    'alice/team/tool': actions,
    'alice/team2/tool': actions,
    'official/base': ['pull'],
  };
}

const CALLERS: Readonly<Record<string, Caller>> = {
  anonymous: { credential: undefined, may: {} },
  alice: { credential: inOrganization('alice', ACTIONS, ['alice/*']), may: everywhereInAlice(ACTIONS) },
  'alice, to pull': { credential: inOrganization('alice', ['pull'], ['alice/*']), may: everywhereInAlice(['pull']) },
  'alice, to push': { credential: inOrganization('alice', ['push'], ['alice/*']), may: everywhereInAlice(['push']) },
  'alice, to delete': {
    credential: inOrganization('alice', ['delete'], ['alice/*']),
    may: everywhereInAlice(['delete']),
  },
  'alice, for app and team': {
    credential: inOrganization('alice', ACTIONS, ['alice/app', 'alice/team/*']),
    may: { 'alice/app': ACTIONS, 'alice/team/tool': ACTIONS, 'official/base': ['pull'] },
  },
  bob: {
    credential: inOrganization('bob', ACTIONS, ['bob/*']),
    may: { 'bob/app': ACTIONS, 'official/base': ['pull'] },
  },
  platform: {
    credential: { kind: 'platform', id: 'platform' },
    may: Object.fromEntries(REPOSITORIES.map((repository) => [repository, ['pull']])),
  },
  administrator: { credential: { kind: 'administrator', id: 'administrator' }, may: { 'official/base': ['pull'] } },
};

const keys = await SigningKeys.import([new Uint8Array(32).fill(1).toBase64()]);

/** A way to present a credential, and the actions that it suffices for. */
interface Way {
  readonly principal: (credential: Credential | undefined, repository: string) => Promise<Principal | undefined>;
  readonly enoughFor: readonly Action[];
  readonly opensCatalog: boolean;
}

const BY_PASSWORD: Way = {
  principal: (credential) =>
    Promise.resolve(credential === undefined ? ANONYMOUS : { kind: 'credential', credential, scopes: undefined }),
  enoughFor: ACTIONS,
  opensCatalog: true,
};

/** Presents a token that was issued for all requested scopes, which may exceed the credential. */
function byToken(asked: (repository: string) => string, enoughFor: readonly Action[], opensCatalog = false): Way {
  return {
    principal: async (credential, repository) => {
      const scopes = parseScopes([asked(repository)]);
      const request = {
        credential,
        scopes,
        audience: 'central',
        now: NOW,
        checkedAt: NOW,
        credentialExpiresAt: undefined,
      };
      const { token } = await issueAccessToken(keys, request);
      return new AccessTokens(keys).verify(token, 'central', NOW);
    },
    enoughFor,
    opensCatalog,
  };
}

const WAYS: Readonly<Record<string, Way>> = {
  'a password': BY_PASSWORD,
  'a token for nothing': byToken(() => '', []),
  'a token for pull': byToken((repository) => `repository:${repository}:pull`, ['pull']),
  // Older clients delete with this token.
  'a token for pull,push': byToken((repository) => `repository:${repository}:pull,push`, ['pull', 'push', 'delete']),
  'a token for delete': byToken((repository) => `repository:${repository}:delete`, ['delete']),
  'a token for *': byToken((repository) => `repository:${repository}:*`, ['pull', 'push', 'delete']),
  'a token for * elsewhere': byToken((repository) => `repository:${repository}-x:* repository:${repository}/x:*`, []),
  'a token for the catalog': byToken(() => 'registry:catalog:*', [], true),
};

const SCOPE_TO_ASK: Record<Action, string> = { pull: 'pull', push: 'pull,push', delete: 'delete' };

/** Returns the decision that the rule requires. */
function expected(caller: Caller, enoughFor: readonly Action[], action: Action, repository: Repository): string {
  const scope = `repository:${repository}:${SCOPE_TO_ASK[action]}`;
  const unlessPublic = action === 'pull' ? 'public, or ' : '';
  if (caller.credential === undefined) return `${unlessPublic}401 ${scope}`;
  if (!caller.may[repository]?.includes(action)) return `${unlessPublic}403`;
  if (!enoughFor.includes(action)) return `${unlessPublic}401 insufficient_scope ${scope}`;
  return 'allowed';
}

function described(decision: Decision): string {
  switch (decision.outcome) {
    case 'allow':
      return 'allowed';
    case 'allow-if-public':
      return `public, or ${described(decision.otherwise)}`;
    case 'unauthenticated':
      return `401 ${decision.scope === undefined ? 'without a scope' : formatScope(decision.scope)}`;
    case 'insufficient-scope':
      return `401 insufficient_scope ${formatScope(decision.scope)}`;
    case 'denied':
      return '403';
  }
}

function forEachAction(outcome: (action: Action) => string): Record<string, string> {
  return Object.fromEntries(ACTIONS.map((action) => [action, outcome(action)]));
}

const MATRIX = Object.entries(CALLERS).flatMap(([name, caller]) =>
  Object.entries(WAYS).map(([manner, way]) => [name, manner, caller, way] as const),
);

describe.each(MATRIX)('%s, with %s', (_name, _manner, caller, way) => {
  const pulls = (repository: Repository): boolean => caller.may[repository]?.includes('pull') === true;

  test.each(REPOSITORIES)('at %s', async (repository) => {
    const principal = (await way.principal(caller.credential, repository))!;
    expect(forEachAction((action) => described(authorize(principal, action, parseRepositoryName(repository))))).toEqual(
      forEachAction((action) => expected(caller, way.enoughFor, action, repository)),
    );
    // Only the credential decides about the source of a mount.
    expect(mayMountFrom(principal, parseRepositoryName(repository))).toBe(
      pulls(repository) ? 'allow' : 'allow-if-public',
    );
  });

  test('in the catalog', async () => {
    const principal = (await way.principal(caller.credential, 'alice/app'))!;
    const scope = 'registry:catalog:*';
    const refusal = caller.credential === undefined ? `401 ${scope}` : `401 insufficient_scope ${scope}`;
    const allowed = caller.credential !== undefined && way.opensCatalog;
    expect(described(authorizeCatalog(principal))).toBe(allowed ? 'allowed' : refusal);

    const { ranges, withPublic } = pullable(principal);
    const shown = REPOSITORIES.filter((repository) =>
      ranges.some(({ from, to }) => from <= repository && repository < to),
    );
    expect(shown).toEqual(REPOSITORIES.filter(pulls));
    expect(withPublic).toBe(true);
  });
});
