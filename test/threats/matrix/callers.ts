/** Every kind of caller that the matrix asks as: who it is to the rule, and what it sends. */
import { env } from 'cloudflare:workers';
import { issueAccessToken, TOKEN_SECONDS } from '../../../src/auth/access-token.ts';
import type { Credential } from '../../../src/auth/credential.ts';
import { parseScopes } from '../../../src/auth/scope.ts';
import { SigningKeys } from '../../../src/auth/signing-keys.ts';
import { basic, type NewUser, tokenOf } from '../../support/client.ts';
import { REPOSITORIES } from './repositories.ts';

export type Right = 'pull' | 'push' | 'delete' | 'admin';

/** What the rule has to know of a caller. */
export type Identity =
  | { readonly kind: 'nobody' | 'refused' | 'platform' | 'administrator' }
  | {
      readonly kind: 'organization';
      readonly organization: string;
      readonly rights: readonly Right[];
      /** The repositories that it covers, as a person would list them. */
      readonly covers: RegExp;
    };

/** `scopes`: of the access token; `all` is every action on every repository and the catalog. */
export type Presented = 'basic' | 'token for all' | 'token for nothing' | 'bootstrap secret' | 'nothing' | 'something bad';

export interface Caller {
  readonly name: string;
  readonly identity: Identity;
  readonly presented: Presented;
  /** The credential's id, which an upload session belongs to. */
  readonly subject: string | undefined;
  /** The value of its Authorization header; undefined for none. */
  authorization(): Promise<string | undefined>;
}

const RIGHTS: readonly Right[] = ['pull', 'push', 'delete', 'admin'];

const subsets = Array.from({ length: 2 ** RIGHTS.length }, (_, bits) => RIGHTS.filter((_right, i) => (bits >> i) & 1));

interface Holder {
  readonly user: NewUser;
  readonly identity: Identity;
}

function member(name: string, organization: string, rights: readonly Right[], repositories?: readonly string[]): Holder {
  const covers = {
    'alice/closed': /^alice\/closed$/,
    'alice/team/*': /^alice\/team\/./,
    'alice/close/*': /^alice\/close\/./,
  }[repositories?.[0] ?? ''];
  return {
    user: {
      kind: 'organization',
      name,
      password: `password-of-${name}`,
      organization,
      rights,
      ...(repositories === undefined ? {} : { repositories }),
    },
    identity: { kind: 'organization', organization, rights, covers: covers ?? /^/ },
  };
}

export const OWNER = 'alice-pull-push-delete-admin';

/** Belongs to no caller: the management API may remove it. */
export const VICTIM: NewUser = { kind: 'organization', name: 'victim', password: 'password-of-victim', organization: 'alice' };

const HOLDERS: readonly Holder[] = [
  ...subsets.map((rights) => member(['alice', ...rights].join('-'), 'alice', rights)),
  member('alice-one', 'alice', RIGHTS, ['alice/closed']),
  member('alice-team', 'alice', RIGHTS, ['alice/team/*']),
  member('alice-prefix', 'alice', RIGHTS, ['alice/close/*']),
  member('bob', 'bob', RIGHTS),
  member('official', 'official', RIGHTS),
  { user: { kind: 'platform', name: 'platform', password: 'password-of-platform' }, identity: { kind: 'platform' } },
  { user: { kind: 'administrator', name: 'admin', password: 'password-of-admin' }, identity: { kind: 'administrator' } },
];

export const USERS_OF_MATRIX: readonly NewUser[] = [...HOLDERS.map(({ user }) => user), VICTIM];

const EVERY_SCOPE = [...REPOSITORIES.map(({ name }) => `repository:${name}:pull,push,delete`), 'registry:catalog:*'];

const tokenWith = async (user: NewUser | undefined, ...scopes: readonly string[]): Promise<string> =>
  (await tokenOf(user === undefined ? {} : { as: { authorization: basic(user) } }, ...scopes)).authorization;

const held = HOLDERS.flatMap(({ user, identity }): Caller[] => {
  const caller = { identity, subject: `id-of-${user.name}` };
  return [
    { ...caller, name: `${user.name} with Basic`, presented: 'basic', authorization: async () => basic(user) },
    {
      ...caller,
      name: `${user.name} with a token for everything`,
      presented: 'token for all',
      authorization: () => tokenWith(user, ...EVERY_SCOPE),
    },
    {
      ...caller,
      name: `${user.name} with a token for nothing`,
      presented: 'token for nothing',
      authorization: () => tokenWith(user),
    },
  ];
});

const nobody = (name: string, presented: Presented, authorization: Caller['authorization']): Caller => ({
  name,
  identity: { kind: 'nobody' },
  subject: undefined,
  presented,
  authorization,
});

const refused = (name: string, authorization: Caller['authorization']): Caller => ({
  name,
  identity: { kind: 'refused' },
  subject: undefined,
  presented: 'something bad',
  authorization,
});

const owner: Credential = {
  kind: 'organization',
  id: `id-of-${OWNER}`,
  organization: 'alice',
  rights: RIGHTS,
  repositories: ['alice/*'],
} as unknown as Credential;

async function ownersToken(issuedAt: number): Promise<string> {
  const { token } = await issueAccessToken(await SigningKeys.import([env.SIGNING_KEY]), {
    credential: owner,
    scopes: parseScopes(EVERY_SCOPE),
    audience: 'central',
    now: issuedAt,
    checkedAt: issuedAt,
    credentialExpiresAt: undefined,
  });
  return token;
}

/** The owner's token, made to be another credential's. */
async function tamperedToken(): Promise<string> {
  const [header, payload = '', signature] = (await ownersToken(Date.now())).split('.');
  const claims = new TextDecoder().decode(Uint8Array.fromBase64(payload, { alphabet: 'base64url' }));
  const forged = new TextEncoder().encode(claims.replace(`id-of-${OWNER}`, 'id-of-someone-else'));
  return [header, forged.toBase64({ alphabet: 'base64url', omitPadding: true }), signature].join('.');
}

export const CALLERS: readonly Caller[] = [
  ...held,
  nobody('nobody', 'nothing', async () => undefined),
  nobody('nobody with an empty Basic', 'nothing', async () => basic({ name: '', password: '' })),
  nobody('nobody with a token', 'token for all', () => tokenWith(undefined, ...EVERY_SCOPE)),
  refused('a wrong password', async () => basic({ name: OWNER, password: 'not-the-password' })),
  refused('an unknown user', async () => basic({ name: 'someone', password: `password-of-${OWNER}` })),
  refused('an expired token', async () => `Bearer ${await ownersToken(Date.now() - 2 * TOKEN_SECONDS * 1000)}`),
  refused('a tampered token', async () => `Bearer ${await tamperedToken()}`),
  refused('another scheme', async () => 'Digest username="alice"'),
  refused('the bootstrap secret as a password', async () => basic({ name: 'bootstrap', password: env.BOOTSTRAP_SECRET })),
  {
    name: 'the bootstrap secret',
    identity: { kind: 'administrator' },
    presented: 'bootstrap secret',
    subject: undefined,
    authorization: async () => `Bearer ${env.BOOTSTRAP_SECRET}`,
  },
];
