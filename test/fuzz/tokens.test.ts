/** Logins and access tokens: who gets which scopes, and that forged tokens are refused. */
import { env } from 'cloudflare:workers';
import * as fc from 'fast-check';
import { beforeEach, describe, expect } from 'vitest';
import { tokenFor, USERS } from '../support/client.ts';
import {
  CALLER_NAMES,
  type CallerName,
  pair,
  type Pair,
  type Presented,
  presented,
  repositoryOfScope,
  scopeParameters,
} from './generate/credentials.ts';
import { headerText } from './generate/headers.ts';
import {
  ACTIONS,
  type Action,
  CALLERS,
  type Caller,
  grantsOf,
  isImpossiblePush,
  isPublic,
  may,
  PUBLIC,
} from './model/scopes.ts';
import { FORM_REGRESSIONS, GRANT_REGRESSIONS, TOKEN_REGRESSIONS } from './regressions.ts';
import { type Expected, expectOneOf } from './support/answers.ts';
import { type Answer, exchange } from './support/exchange.ts';
import { property } from './support/property.ts';
import { expectUnchanged, settledState } from './support/state.ts';
import { type Forgery, forge } from './support/tokens.ts';

let state: string;
let requests = 0;

beforeEach(async () => {
  const insert = env.DB_CENTRAL.prepare('INSERT INTO public_repositories (name) VALUES (?1)');
  await env.DB_CENTRAL.batch(PUBLIC.map((name) => insert.bind(name)));
  state = await settledState();
});

/** Returns a new address for each login, because logins are counted by address. */
function fromAnywhere(): Record<string, string> {
  requests++;
  return { 'CF-Connecting-IP': `10.${requests >> 16}.${(requests >> 8) & 255}.${requests & 255}` };
}

function callerOf(who: CallerName | 'nobody'): Caller | undefined {
  return who === 'nobody' ? undefined : CALLERS[who];
}

/** Returns the scopes in a token, in the form of the model. */
function grantsIn(token: string): Set<string> {
  const claims = JSON.parse(
    new TextDecoder().decode(Uint8Array.fromBase64(token.split('.')[1] ?? '', { alphabet: 'base64url' })),
  ) as { scope: string };
  const scopes = claims.scope.split(' ').filter((text) => text !== '');
  return new Set(
    scopes.flatMap((text) => {
      if (text === 'registry:catalog:*') return ['catalog'];
      const [, name = '', list = ''] = text.split(':');
      return list.split(',').map((action) => `${name} ${action}`);
    }),
  );
}

async function expectToken(
  answer: Answer,
  who: CallerName | 'nobody',
  scopes: readonly string[],
  what: unknown,
): Promise<string> {
  expectOneOf(answer, ['200'], what);
  const {
    token,
    access_token: same,
    expires_in: seconds,
  } = JSON.parse(new TextDecoder().decode(answer.bytes)) as Record<string, unknown>;
  expect(same).toBe(token);
  expect(seconds).toBeGreaterThan(0);
  expect(grantsIn(String(token)), JSON.stringify(what)).toEqual(grantsOf(callerOf(who), scopes));
  return String(token);
}

export interface GrantCase {
  readonly presented: Presented;
  readonly scopes: readonly string[];
  /** The action that the token is then used for. */
  readonly action: Action;
  readonly repository: string;
}

describe('GET /token', () => {
  const cases: fc.Arbitrary<GrantCase> = fc.record({
    presented,
    scopes: scopeParameters,
    action: fc.constantFrom(...ACTIONS),
    repository: repositoryOfScope,
  });

  property(
    'grants the allowed part of the request, and the token is valid for that only',
    cases,
    async ({ presented: { header, who }, scopes, action, repository }) => {
      const query = new URLSearchParams([['service', 'any'], ...scopes.map((scope) => ['scope', scope])]);
      const headers = fromAnywhere();
      const as = header === undefined ? {} : { as: { authorization: header } };
      const path = `/token?${query.toString()}`;
      const answer = await exchange({ method: 'GET', path, headers, ...as });
      const what = { header, scopes };
      await expectUnchanged(state, what);
      if (who === 'refused') return expectOneOf(answer, ['401 UNAUTHORIZED'], what);
      if (isImpossiblePush(scopes)) return expectOneOf(answer, ['403 DENIED'], what);
      const token = await expectToken(answer, who, scopes, what);
      const used = await use({ authorization: `Bearer ${token}` }, action, repository);
      const granted = grantsOf(callerOf(who), scopes);
      expectOneOf(used, [answerTo(callerOf(who), granted, action, repository)], { ...what, action, repository });
    },
    { regressions: GRANT_REGRESSIONS },
  );

  property('Basic by itself identifies its caller', presented, async ({ header, who }) => {
    const as = header === undefined ? {} : { as: { authorization: header } };
    const answer = await exchange({ method: 'GET', path: '/v2/', headers: fromAnywhere(), ...as });
    expectOneOf(answer, [who === 'refused' || who === 'nobody' ? '401 UNAUTHORIZED' : '200'], { header, who });
  });
});

/**
 * Requests something that does not exist. A caller with the right gets 404, or opens a session, which writes nothing.
 */
function use(as: { readonly authorization: string }, action: Action, repository: string): Promise<Answer> {
  const request = {
    pull: { method: 'GET', path: `/v2/${repository}/manifests/none` },
    push: { method: 'POST', path: `/v2/${repository}/blobs/uploads/` },
    delete: { method: 'DELETE', path: `/v2/${repository}/manifests/none` },
  }[action];
  return exchange({ ...request, as });
}

/** The rule of docs/architecture.md, "Who may do what". */
function answerTo(
  caller: Caller | undefined,
  granted: ReadonlySet<string>,
  action: Action,
  repository: string,
): Expected {
  const success: Expected = { pull: '404 NAME_UNKNOWN', push: '202', delete: '404 NAME_UNKNOWN' }[action] as Expected;
  if (action === 'pull' && isPublic(repository)) return success;
  if (caller === undefined) return '401 UNAUTHORIZED';
  if (!may(caller, action, repository)) return '403 DENIED';
  // Older clients delete with a token that was issued for pushing.
  const has = granted.has(`${repository} ${action}`) || (action === 'delete' && granted.has(`${repository} push`));
  return has ? success : '401 UNAUTHORIZED';
}

export interface FormCase {
  readonly grantType: string | undefined;
  readonly pair: Pair;
  readonly type: 'form' | 'multipart' | 'json' | 'none';
  readonly scopes: readonly string[];
  /** Number of characters that are appended to the body. */
  readonly excess: number;
  readonly streamed: boolean;
}

describe('POST /token', () => {
  const cases: fc.Arbitrary<FormCase> = fc.record({
    grantType: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('password', 'refresh_token') },
      { weight: 1, arbitrary: fc.constantFrom(undefined, '', 'Password', 'authorization_code', 'password ') },
    ),
    pair: fc.oneof(
      { weight: 9, arbitrary: pair },
      { weight: 1, arbitrary: fc.constant<Pair>({ name: '', password: '', caller: undefined }) },
    ),
    type: fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom('form' as const) },
      { weight: 1, arbitrary: fc.constantFrom('multipart' as const, 'json' as const, 'none' as const) },
    ),
    scopes: scopeParameters,
    excess: fc.oneof(
      { weight: 12, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.constantFrom(1000, 66_000) },
    ),
    streamed: fc.boolean(),
  });

  property(
    'accepts forms, and grants the same as GET does',
    cases,
    async ({ grantType, pair: { name, password, caller }, type, scopes, excess, streamed }) => {
      const fields: [string, string][] = [
        ['username', name],
        ['password', password],
        ['refresh_token', Uint8Array.from(new TextEncoder().encode(`${name}:${password}`)).toBase64()],
        ...scopes.map((scope): [string, string] => ['scope', scope]),
        ...(grantType === undefined ? [] : [['grant_type', grantType] as [string, string]]),
        ...(excess === 0 ? [] : [['padding', 'x'.repeat(excess)] as [string, string]]),
      ];
      const { body, contentType } = await bodyOf(type, fields);
      const headers = { ...fromAnywhere(), ...(contentType !== undefined && { 'Content-Type': contentType }) };
      const answer = await exchange({ method: 'POST', path: '/token', headers, body, streamed });
      const what = { grantType, name, password, type, scopes, size: body.byteLength };
      await expectUnchanged(state, what);
      if (body.byteLength > 64 * 1024) return expectOneOf(answer, ['413 SIZE_INVALID'], what);
      const isForm = type === 'form' || type === 'multipart';
      if (!isForm || (grantType !== 'password' && grantType !== 'refresh_token'))
        return expectOneOf(answer, ['400 UNSUPPORTED'], what);
      const isNobody = grantType === 'password' && name === '' && password === '';
      if (!isNobody && caller === undefined) return expectOneOf(answer, ['401 UNAUTHORIZED'], what);
      if (isImpossiblePush(scopes)) return expectOneOf(answer, ['403 DENIED'], what);
      if (isNobody) await expectToken(answer, 'nobody', scopes, what);
      else if (caller !== undefined) await expectToken(answer, caller, scopes, what);
    },
    { regressions: FORM_REGRESSIONS },
  );
});

async function bodyOf(
  type: FormCase['type'],
  fields: readonly [string, string][],
): Promise<{ body: Uint8Array<ArrayBuffer>; contentType: string | undefined }> {
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  const response = new Response(
    {
      form: new URLSearchParams([...fields]),
      multipart: form,
      json: JSON.stringify(Object.fromEntries(fields)),
      none: 'grant_type=password',
    }[type],
  );
  const given = {
    form: response.headers.get('Content-Type'),
    multipart: response.headers.get('Content-Type'),
    json: 'application/json',
    none: null,
  }[type];
  return { body: new Uint8Array(await response.arrayBuffer()), contentType: given ?? undefined };
}

export interface TokenCase {
  readonly caller: CallerName;
  readonly forgery: Forgery;
}

describe('an access token', () => {
  const segment = fc.constantFrom(0 as const, 1 as const, 2 as const);
  const forgery: fc.Arbitrary<Forgery> = fc.oneof(
    { weight: 1, arbitrary: fc.constant<Forgery>({ kind: 'none' }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('character' as const),
        segment,
        at: fc.nat(2000),
        by: fc.integer({ min: 1, max: 63 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), segment, to: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('segments' as const), count: fc.constantFrom(1, 2, 4, 5) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('text' as const),
        text: headerText.map((text) => text.replaceAll(' ', '')),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('another key' as const), byte: fc.constantFrom(0, 2, 255) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('header' as const),
        header: fc.constantFrom<Record<string, unknown>>(
          { alg: 'none' },
          { alg: 'HS512' },
          { alg: 'RS256' },
          { alg: undefined },
          { kid: undefined },
          { kid: 'x' },
          { kid: '../../dev/null' },
          { kid: 5 },
          { crit: ['exp'] },
        ),
        signed: fc.boolean(),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('claims' as const),
        claims: fc.constantFrom<Record<string, unknown>>(
          { iss: 'elsewhere' },
          { iss: undefined },
          { aud: 'node/elsewhere' },
          { aud: undefined },
          { aud: '' },
          { exp: 1 },
          { exp: undefined },
          { exp: 'never' },
          { iat: 1 },
          { iat: 99_999_999_999 },
          { iat: undefined },
          { sub: undefined },
          { nbf: 99_999_999_999 },
          { scope: undefined },
          { scope: 5 },
          { credential: 'admin' },
          { credential: { kind: 'root', id: 'x' } },
          { credential: { kind: 'organization', id: 'x', organization: 'Not A Name', rights: [], repositories: [] } },
          { credential: { kind: 'organization', id: 'x', organization: 'alice', rights: ['all'], repositories: [] } },
        ),
      }),
    },
  );

  property(
    'is valid in the form in which it was issued, and in no other',
    fc.record({ caller: fc.constantFrom(...CALLER_NAMES), forgery }),
    async ({ caller, forgery: how }) => {
      const { authorization } = await tokenFor(caller);
      const given = authorization.slice('Bearer '.length);
      const token = await forge(given, how, env.SIGNING_KEY);
      const answer = await exchange({ method: 'GET', path: '/v2/', as: { authorization: `Bearer ${token}` } });
      expectOneOf(answer, [token === given ? '200' : '401 UNAUTHORIZED'], {
        caller,
        user: USERS[caller].name,
        how,
        token,
      });
      if (answer.status === 401) expect(answer.headers.get('WWW-Authenticate')).toContain('error="invalid_token"');
    },
    { regressions: TOKEN_REGRESSIONS },
  );
});
