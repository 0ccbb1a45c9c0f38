/** Every kind of caller that the matrix uses: its identity for the rule, and what it sends. */
import { env } from 'cloudflare:workers';
import { issueAccessToken, TOKEN_SECONDS } from '../../../src/auth/access-token.ts';
import type { Credential } from '../../../src/auth/credential.ts';
import { credentialOfToken, fingerprintOf } from '../../../src/auth/platform-token.ts';
import { parseScopes } from '../../../src/auth/scope.ts';
import { SigningKeys } from '../../../src/auth/signing-keys.ts';
import { basic, type NewUser, tokenOf } from '../../support/client.ts';
import { type HostName, type PlatformRegistry, platformToken } from '../../support/platform.ts';
import { sampled } from '../../support/sample.ts';
import { REPOSITORIES } from './repositories.ts';

export type Right = 'pull' | 'push' | 'delete' | 'admin';

/** The facts about a caller that the rule needs. */
export type Identity = { readonly limits?: Limited } & (
  | { readonly kind: 'nobody' | 'refused' | 'platform' | 'administrator' }
  | {
      readonly kind: 'organization';
      readonly organization: string;
      readonly rights: readonly Right[];
      /** Matches the repositories that it covers, as a person would list them. */
      readonly covers: RegExp;
    }
);

/** The registries where a credential is good, and when it ends; absent fields mean everywhere and never. */
export interface Limited {
  readonly registries?: readonly string[];
  readonly expiresAt?: number;
}

/** A `token for all` has every action on every repository, and the catalog, in its scopes. */
export type Presented =
  | 'basic'
  | 'token for all'
  | 'token for nothing'
  | 'bootstrap secret'
  | 'nothing'
  | 'something bad';

export interface Caller {
  readonly name: string;
  readonly identity: Identity;
  readonly presented: Presented;
  /** The credential's id, which owns the caller's upload sessions. */
  readonly subject: string | undefined;
  /** Returns the Authorization header for the caller's host; undefined if it sends none. */
  authorization(registry: PlatformRegistry): Promise<string | undefined>;
}

const RIGHTS: readonly Right[] = ['pull', 'push', 'delete', 'admin'];

const subsets = Array.from({ length: 2 ** RIGHTS.length }, (_, bits) => RIGHTS.filter((_right, i) => (bits >> i) & 1));

interface Holder {
  readonly user: NewUser;
  readonly identity: Identity;
}

type Limits = Pick<NewUser, 'repositories' | 'expiresAt' | 'registries'>;

function member(name: string, organization: string, rights: readonly Right[], limits: Limits = {}): Holder {
  const covers = {
    'alice/closed': /^alice\/closed$/,
    'alice/team/*': /^alice\/team\/./,
    'alice/close/*': /^alice\/close\/./,
  }[limits.repositories?.[0] ?? ''];
  return {
    user: { kind: 'organization', name, password: `password-of-${name}`, organization, rights, ...limits },
    identity: { kind: 'organization', organization, rights, covers: covers ?? /^/, limits: limitsIn(limits) },
  };
}

function administrator(name: string, limits: Limited = {}): Holder {
  return {
    user: { kind: 'administrator', name, password: `password-of-${name}`, ...limits },
    identity: { kind: 'administrator', limits: limitsIn(limits) },
  };
}

function limitsIn({ registries, expiresAt }: Limited): Limited {
  return { ...(registries !== undefined && { registries }), ...(expiresAt !== undefined && { expiresAt }) };
}

export const OWNER = 'alice-pull-push-delete-admin';

/** A credential that is not a caller, so that the management API may remove it. */
export const VICTIM: NewUser = {
  kind: 'organization',
  name: 'victim',
  password: 'password-of-victim',
  organization: 'alice',
};

const WITH_RIGHTS = subsets.map((rights) => member(['alice', ...rights].join('-'), 'alice', rights));

const HOLDERS: readonly Holder[] = [
  ...WITH_RIGHTS,
  member('alice-one', 'alice', RIGHTS, { repositories: ['alice/closed'] }),
  member('alice-team', 'alice', RIGHTS, { repositories: ['alice/team/*'] }),
  member('alice-prefix', 'alice', RIGHTS, { repositories: ['alice/close/*'] }),
  member('bob', 'bob', RIGHTS),
  member('official', 'official', RIGHTS),
  { user: { kind: 'platform', name: 'platform', password: 'password-of-platform' }, identity: { kind: 'platform' } },
  administrator('admin'),
];

/** When the limited credentials below end: long after the tests. */
export const END = Date.UTC(2100, 0, 1);

/** Callers for the management API only: what limits a credential also limits the credentials that it creates. */
const DELEGATES: readonly Holder[] = [
  member('alice-ending', 'alice', RIGHTS, { expiresAt: END }),
  member('alice-everywhere', 'alice', RIGHTS, { registries: ['central', 'node1', 'node2'] }),
  administrator('admin-of-central', { registries: ['central'] }),
  administrator('admin-of-node1', { registries: ['central', 'node1'] }),
  administrator('admin-ending', { expiresAt: END }),
];

/** Each is good at one host only. */
const LIMITED = {
  central: member('central-only', 'alice', RIGHTS, { registries: ['central'] }),
  node1: member('node1-only', 'alice', RIGHTS, { registries: ['node1'] }),
} as const satisfies Record<HostName, Holder>;

const EXPIRED = member('expired', 'alice', RIGHTS, { expiresAt: 1 });

export const USERS_OF_MATRIX: readonly NewUser[] = [
  ...[...HOLDERS, ...DELEGATES, ...Object.values(LIMITED), EXPIRED].map(({ user }) => user),
  VICTIM,
];

/** A token of alice's organization that only the platform knows. */
export const PLATFORM_TOKEN = platformToken('robot$alice.users.kraftcloud', 'a-secret-of-the-platform');

const OTHER: Readonly<Record<HostName, HostName>> = { central: 'node1', node1: 'central' };

const EVERY_SCOPE = [...REPOSITORIES.map(({ name }) => `repository:${name}:pull,push,delete`), 'registry:catalog:*'];

const keys = await SigningKeys.import([env.SIGNING_KEY]);

const UNKNOWN_TO_PLATFORM = platformToken('robot$alice.users.kraftcloud', 'a-secret-that-nobody-knows');

/** A platform token covers all of its organization's repositories, without administering it: docs/architecture.md. */
const FROM_PLATFORM: Pick<Caller, 'identity' | 'subject'> = {
  identity: { kind: 'organization', organization: 'alice', rights: ['pull', 'push', 'delete'], covers: /^/ },
  subject: credentialOfToken(
    'alice' as Parameters<typeof credentialOfToken>[0],
    await fingerprintOf({ token: PLATFORM_TOKEN.whole, user: '', secret: '' }),
  ).id,
};

/**
 * Returns a caller in three forms: with its own credential, with a token for everything, and with a token for nothing.
 */
function inAllForms(
  host: HostName,
  name: string,
  known: string,
  caller: Pick<Caller, 'identity' | 'subject'>,
): readonly [Caller, Caller, Caller] {
  const tokenWith = async (registry: PlatformRegistry, scopes: readonly string[]): Promise<string> =>
    (await tokenOf(registry.by(host, known), ...scopes)).authorization;
  return [
    { ...caller, name: `${name} with Basic`, presented: 'basic', authorization: async () => known },
    {
      ...caller,
      name: `${name} with a token for everything`,
      presented: 'token for all',
      authorization: (registry) => tokenWith(registry, EVERY_SCOPE),
    },
    {
      ...caller,
      name: `${name} with a token for nothing`,
      presented: 'token for nothing',
      authorization: (registry) => tokenWith(registry, []),
    },
  ];
}

/** Returns the forms of a holder. A node is asked in one form for holders that differ only by their rights. */
function formsOf(host: HostName, holder: Holder): readonly Caller[] {
  const { user, identity } = holder;
  const forms = inAllForms(host, user.name, basic(user), { identity, subject: `id-of-${user.name}` });
  return host === 'node1' && WITH_RIGHTS.includes(holder) && user.name !== OWNER ? [forms[1]] : forms;
}

/** Returns every kind of caller of the management API, or a sample of them. */
export function managersOf(host: HostName): readonly Caller[] {
  return sampled(everyManager(host));
}

export function everyManager(host: HostName): readonly Caller[] {
  const delegates = DELEGATES.map(({ user, identity }): Caller => {
    const [caller] = inAllForms(host, user.name, basic(user), { identity, subject: `id-of-${user.name}` });
    return caller;
  });
  return [...everyCaller(host), ...delegates];
}

/**
 * Returns every kind of caller of a host, or a sample of them. Callers come in threes, one in each form, so a sample
 * of one in 8 includes every form.
 */
export function callersOf(host: HostName): readonly Caller[] {
  return sampled(everyCaller(host));
}

function everyCaller(host: HostName): readonly Caller[] {
  return [
    ...[...HOLDERS, LIMITED[host]].flatMap((holder) => formsOf(host, holder)),
    ...inAllForms(host, 'a token of the platform', PLATFORM_TOKEN.pair, FROM_PLATFORM),
    {
      ...FROM_PLATFORM,
      name: 'a whole token of the platform',
      presented: 'basic',
      authorization: async () => PLATFORM_TOKEN.bearer,
    },
    nobody('nobody', 'nothing', async () => undefined),
    nobody('nobody with an empty Basic', 'nothing', async () => basic({ name: '', password: '' })),
    nobody('nobody with a token', 'token for all', async (registry) => {
      const { authorization } = await tokenOf(registry.anonymously(host), ...EVERY_SCOPE);
      return authorization;
    }),
    refused('a wrong password', async () => basic({ name: OWNER, password: 'not-the-password' })),
    refused('an unknown user', async () => basic({ name: 'someone', password: `password-of-${OWNER}` })),
    refused('an expired credential', async () => basic(EXPIRED.user)),
    refused('a credential of another host', async () => basic(LIMITED[OTHER[host]].user)),
    refused('a token of another host', async () => `Bearer ${await ownersToken(OTHER[host], Date.now())}`),
    refused('an expired token', async () => `Bearer ${await ownersToken(host, Date.now() - 2 * TOKEN_SECONDS * 1000)}`),
    refused('a tampered token', async () => `Bearer ${await tamperedToken(host)}`),
    refused('a token that the platform does not know', async () => UNKNOWN_TO_PLATFORM.pair),
    refused('another scheme', async () => 'Digest username="alice"'),
    refused('the bootstrap secret as a password', async () =>
      basic({ name: 'bootstrap', password: env.BOOTSTRAP_SECRET }),
    ),
    {
      name: 'the bootstrap secret',
      identity: { kind: 'administrator' },
      presented: 'bootstrap secret',
      subject: undefined,
      authorization: async () => `Bearer ${env.BOOTSTRAP_SECRET}`,
    },
  ];
}

function nobody(name: string, presented: Presented, authorization: Caller['authorization']): Caller {
  return { name, identity: { kind: 'nobody' }, subject: undefined, presented, authorization };
}

function refused(name: string, authorization: Caller['authorization']): Caller {
  return { name, identity: { kind: 'refused' }, subject: undefined, presented: 'something bad', authorization };
}

const owner: Credential = {
  kind: 'organization',
  id: `id-of-${OWNER}`,
  organization: 'alice',
  rights: RIGHTS,
  repositories: ['alice/*'],
} as unknown as Credential;

async function ownersToken(audience: HostName, issuedAt: number): Promise<string> {
  const { token } = await issueAccessToken(keys, {
    credential: owner,
    scopes: parseScopes(EVERY_SCOPE),
    audience,
    now: issuedAt,
    checkedAt: issuedAt,
    credentialExpiresAt: undefined,
  });
  return token;
}

/** The owner's token, made to be another credential's. */
async function tamperedToken(host: HostName): Promise<string> {
  const [header, payload = '', signature] = (await ownersToken(host, Date.now())).split('.');
  const claims = new TextDecoder().decode(Uint8Array.fromBase64(payload, { alphabet: 'base64url' }));
  const forged = new TextEncoder().encode(claims.replace(`id-of-${OWNER}`, 'id-of-someone-else'));
  return [header, forged.toBase64({ alphabet: 'base64url', omitPadding: true }), signature].join('.');
}
