/** Requests to the Worker as deployed, in the same isolate as the test. */
import { env, exports } from 'cloudflare:workers';
import { hashSecret } from '../../src/auth/secret-hash.ts';
import { secrets } from './console.ts';

export const HOST = 'http://registry.localhost:8787';

export interface User {
  readonly name: string;
  readonly password: string;
}

export interface NewUser extends User {
  readonly kind: 'organization' | 'platform' | 'administrator';
  readonly organization?: string;
  readonly rights?: readonly string[];
  readonly repositories?: readonly string[];
  /** Milliseconds since the epoch; never by default. */
  readonly expiresAt?: number;
  /** 'central' and names of nodes; everywhere by default. */
  readonly registries?: readonly string[];
}

/** The users of tests. {@link addUsers} adds them to the empty store. */
export const USERS = {
  alice: { kind: 'organization', name: 'alice', password: 'alice-secret', organization: 'alice' },
  aliceReader: {
    kind: 'organization',
    name: 'reader',
    password: 'reader-secret',
    organization: 'alice',
    rights: ['pull'],
  },
  aliceApp: {
    kind: 'organization',
    name: 'app-only',
    password: 'app-only-secret',
    organization: 'alice',
    rights: ['pull', 'push'],
    repositories: ['alice/app', 'alice/team/*'],
  },
  bob: { kind: 'organization', name: 'bob', password: 'bob-secret', organization: 'bob' },
  official: { kind: 'organization', name: 'official', password: 'official-secret', organization: 'official' },
  platform: { kind: 'platform', name: 'platform', password: 'platform-secret' },
  admin: { kind: 'administrator', name: 'admin', password: 'admin-secret' },
} as const satisfies Record<string, NewUser>;

export type UserName = keyof typeof USERS;

export async function addUsers(): Promise<void> {
  await addCredentials(Object.values<NewUser>(USERS));
}

/** Adds credentials and their organizations. */
export async function addCredentials(users: readonly NewUser[]): Promise<void> {
  const organization = env.DB_CENTRAL.prepare(
    'INSERT INTO organizations (name, created_at) VALUES (?1, 0) ON CONFLICT DO NOTHING',
  );
  const credential = env.DB_CENTRAL.prepare(
    `INSERT INTO credentials
       (id, kind, organization, name, rights, repositories, secret_hash, created_at, expires_at, registries)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)`,
  );
  const statements = await Promise.all(
    users.map(async ({ kind, name, password, organization: owner = '', ...limits }) => {
      const { rights, repositories, expiresAt = null, registries } = limits;
      const allowed = JSON.stringify(rights ?? ['pull', 'push', 'delete', 'admin']);
      const patterns = JSON.stringify(repositories ?? [`${owner}/*`]);
      const where = registries === undefined ? null : JSON.stringify(registries);
      const hash = await hashSecret(password);
      const row = credential.bind(`id-of-${name}`, kind, owner, name, allowed, patterns, hash, expiresAt, where);
      return owner === '' ? [row] : [organization.bind(owner), row];
    }),
  );
  await env.DB_CENTRAL.batch(statements.flat());
}

export function basic({ name, password }: User): string {
  return `Basic ${btoa(`${name}:${password}`)}`;
}

export interface CallOptions {
  /** `http://<host>`; {@link HOST} by default. */
  readonly host?: string;
  /** A user, who logs in with Basic, or the value of the Authorization header. */
  readonly as?: UserName | { readonly authorization: string };
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: BodyInit | null;
  /** Answers instead of the Worker as deployed. */
  readonly fetcher?: ((request: Request) => Promise<Response>) | undefined;
}

export async function call(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { host = HOST, as, headers = {}, body = null, fetcher } = options;
  const authorization = typeof as === 'string' ? basic(USERS[as]) : as?.authorization;
  const url = path.startsWith('http') ? path : `${host}${path}`;
  if (authorization !== undefined) secrets.addAuthorization(authorization);
  if (body instanceof URLSearchParams) {
    for (const field of ['password', 'refresh_token']) secrets.add(`the ${field} of a form`, body.get(field) ?? '');
  }
  const request = new Request(url, {
    method,
    body,
    redirect: 'manual',
    headers: { ...headers, ...(authorization && { Authorization: authorization }) },
  });
  rememberPassword(body);
  const response = await (fetcher === undefined ? exports.default.fetch(request) : fetcher(request));
  await rememberSecrets(response, path);
  return response;
}

/** Sends a request to the management API, with a body of JSON if there is one. @param path the path after `/api/` */
export function callApi(
  method: string,
  path: string,
  as?: CallOptions['as'],
  body?: object,
  host = HOST,
): Promise<Response> {
  const json = body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  return call(method, `/api/${path}`, { ...(as && { as }), host, ...json });
}

/** Remembers the password for an upstream in a body, which must not appear in the log. */
function rememberPassword(body: BodyInit | null): void {
  const [, , password = ''] = /"(password|secret)":"([^"]*)"/.exec(typeof body === 'string' ? body : '') ?? [];
  secrets.add('the password for an upstream', password);
}

/** Remembers the secrets of an answer, which must not appear in the log. */
async function rememberSecrets(response: Response, path: string): Promise<void> {
  secrets.addLocation(response.headers.get('Location') ?? '');
  const gives = /^\/token\b|\/credentials$/.test(path) && response.ok;
  if (gives) secrets.addAnswer(await response.clone().text());
}

/** Gets an access token for the scopes, as the value of an Authorization header. */
export function tokenFor(
  as: UserName | undefined,
  ...scopes: readonly string[]
): Promise<{ readonly authorization: string }> {
  return tokenOf(as === undefined ? {} : { as }, ...scopes);
}

/** Like {@link tokenFor}, for any caller and host. */
export async function tokenOf(
  caller: CallOptions,
  ...scopes: readonly string[]
): Promise<{ readonly authorization: string }> {
  const query = new URLSearchParams(scopes.map((scope) => ['scope', scope]));
  const response = await call('GET', `/token?${query.toString()}`, caller);
  const { token } = await response.json<{ token: string }>();
  return { authorization: `Bearer ${token}` };
}

export async function errorsOf(
  response: Response,
): Promise<{ code: string; message: string; detail: Record<string, unknown> }[]> {
  const { errors } = await response.json<{
    errors: { code: string; message: string; detail: Record<string, unknown> }[];
  }>();
  return errors;
}

export async function codeOf(response: Response): Promise<string | undefined> {
  return (await errorsOf(response))[0]?.code;
}
