/**
 * Compares the answers with the OpenAPI document. The test asks for every operation in every way that the document
 * distinguishes; each answer must have a status, headers and a body that the document describes.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { STALLED_MILLISECONDS } from '../../../src/stores/uploads/body-reader.ts';
import { basic, call, callApi, type CallOptions, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { startImport, stopImports } from '../../support/imports.ts';
import { startQueues, stopQueues } from '../../support/queues.ts';
import { workerWith } from '../../support/worker-with.ts';

type JsonSchema = z.core.JSONSchema.JSONSchema;

interface Response_ {
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: { readonly 'application/json': { readonly schema: JsonSchema } };
}

interface Operation {
  readonly responses: Readonly<Record<string, Response_>>;
  readonly requestBody?: object;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: 'path' | 'query';
    readonly schema: JsonSchema;
  }[];
}

interface Document {
  readonly info: { readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
}

interface Example {
  /** Path parameters that differ from {@link PARAMETERS}. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** The caller; an administrator by default. */
  readonly as?: UserName;
  /** Body of a request that succeeds; built once the fixtures exist. */
  readonly body?: () => Promise<object>;
  /** Whether every caller who logs in may send the request. */
  readonly isForAll?: boolean;
}

const PARAMETERS: Readonly<Record<string, string>> = {
  organization: 'alice',
  repository: 'app',
  reference: 'latest',
  name: 'reader',
  store: 'node1',
  node: 'node1',
  import: '11111111-1111-4111-8111-111111111111',
};

/** Parameters of things that do not exist. */
const ABSENT: Readonly<Record<string, string>> = {
  organization: 'nobody',
  repository: 'nothing',
  reference: 'never',
  name: 'none',
  store: 'nowhere',
  node: 'nowhere',
  import: '22222222-2222-4222-8222-222222222222',
};

const body = (fields: object) => async (): Promise<object> => fields;

const ORGANIZATION = '/api/organizations/{organization}';
const REPOSITORY = `${ORGANIZATION}/repositories/{repository}`;
const IMAGE = `${REPOSITORY}/images/{reference}`;
const QUEUE = '/api/replication/queues/{store}';

/** For each operation, a request that succeeds. */
const EXAMPLES: Readonly<Record<string, Example>> = {
  'get /api/organizations': {},
  'post /api/organizations': { body: body({ name: 'carol' }) },
  [`get ${ORGANIZATION}`]: {},
  [`delete ${ORGANIZATION}`]: { parameters: { organization: 'vacant' } },
  [`get ${ORGANIZATION}/usage`]: {},
  [`get ${ORGANIZATION}/usage/days`]: {},
  [`get ${ORGANIZATION}/usage/repositories`]: {},
  [`put ${ORGANIZATION}/quota`]: { body: body({ bytes: 1000 }) },
  'get /api/mirrors': {},
  [`get ${ORGANIZATION}/mirror`]: { parameters: { organization: 'vacant' } },
  [`get ${ORGANIZATION}/mirror/status`]: { parameters: { organization: 'vacant' } },
  [`post ${ORGANIZATION}/mirror/retry`]: { parameters: { organization: 'vacant' } },
  [`put ${ORGANIZATION}/mirror`]: { parameters: { organization: 'vacant' }, body: body({ from: 'hub' }) },
  [`delete ${ORGANIZATION}/mirror`]: { parameters: { organization: 'vacant' } },
  [`get ${ORGANIZATION}/credentials`]: {},
  [`post ${ORGANIZATION}/credentials`]: { body: body({ name: 'x', rights: ['pull'] }) },
  [`delete ${ORGANIZATION}/credentials/{name}`]: {},
  [`get ${ORGANIZATION}/audit`]: {},
  [`get ${ORGANIZATION}/imports`]: {},
  [`post ${ORGANIZATION}/imports`]: { body: body({ from: 'http://localhost:9', repositories: ['app'] }) },
  [`get ${ORGANIZATION}/imports/{import}`]: {},
  [`delete ${ORGANIZATION}/imports/{import}`]: {},
  [`get ${ORGANIZATION}/repositories`]: {},
  [`post ${ORGANIZATION}/repositories`]: { body: body({ name: 'x' }) },
  [`get ${REPOSITORY}`]: {},
  [`patch ${REPOSITORY}`]: { body: body({ visibility: 'public' }) },
  [`delete ${REPOSITORY}`]: {},
  [`get ${REPOSITORY}/images`]: { as: 'alice' },
  [`get ${REPOSITORY}/tags`]: { as: 'alice' },
  [`get ${REPOSITORY}/pulls/hours`]: { as: 'alice' },
  [`get ${IMAGE}`]: { as: 'alice' },
  [`get ${IMAGE}/history`]: { as: 'alice' },
  [`post ${IMAGE}/restore`]: { as: 'alice', body: currentEntry },
  [`post ${IMAGE}/prefetch`]: { as: 'alice', body: body({ node: 'node1' }) },
  [`get ${IMAGE}/pins`]: {},
  [`get ${IMAGE}/shared`]: { as: 'alice' },
  [`put ${IMAGE}/pins/{node}`]: {},
  [`delete ${IMAGE}/pins/{node}`]: {},
  'get /api/credentials': {},
  'post /api/credentials': { body: body({ name: 'x', kind: 'platform' }) },
  'delete /api/credentials/{name}': { parameters: { name: 'platform' } },
  'get /api/caller': { isForAll: true },
  'get /api/maintenance': {},
  'get /api/deployment': {},
  'get /api/audit': {},
  'get /api/pushes': { isForAll: true },
  'get /api/pushes/hours': {},
  'get /api/pulls/hours': {},
  'get /api/repositories': { isForAll: true },
  'get /api/replication/queues': {},
  'get /api/replication/series': {},
  [`get ${QUEUE}/series`]: {},
  [`get ${QUEUE}`]: {},
  [`patch ${QUEUE}`]: { body: body({ paused: false }) },
  [`get ${QUEUE}/parked`]: {},
  [`get ${QUEUE}/turns`]: {},
  [`post ${QUEUE}/retry`]: { body: body({}) },
  [`post ${QUEUE}/announce-all`]: {},
  [`get ${QUEUE}/only-here`]: {},
  'delete /api/replication/stores/{store}/locations': { parameters: { store: 'retired' } },
};

async function currentEntry(): Promise<object> {
  const answer = await call('GET', '/api/organizations/alice/repositories/app/images/latest/history', { as: 'alice' });
  const { history } = await answer.json<{ history: { version: number; origin: string }[] }>();
  return { version: history[0]?.version, origin: history[0]?.origin };
}

let document: Document;

beforeAll(async () => {
  document = await (await call('GET', '/api/openapi.json')).json();
});
afterEach(stopQueues);
afterEach(stopImports);
beforeEach(startQueues);
beforeEach(async () => {
  await putImage('alice/app', 1, ['latest']);
  const pin = await call('PUT', '/api/organizations/alice/repositories/app/images/latest/pins/node1', { as: 'admin' });
  expect(pin.status).toBe(200);
  await env.DB_CENTRAL.batch([
    env.DB_CENTRAL.prepare("INSERT INTO organizations (name, created_at) VALUES ('vacant', 0)"),
    env.DB_CENTRAL.prepare(
      `INSERT INTO locations (digest, store, key, size, created_at, lease_until)
       SELECT digest, 'retired', 'k', size, 0, 0 FROM locations LIMIT 1`,
    ),
    env.DB_CENTRAL.prepare("INSERT INTO change_log_positions (store, position, applied_at) VALUES ('retired', 0, 0)"),
  ]);
  const mirror = { from: 'https://registry.example', username: 'berth', password: 'secret of vacant' };
  expect((await callApi('PUT', 'organizations/vacant/mirror', 'admin', mirror)).status).toBe(200);
  await startImport('alice', PARAMETERS['import'] ?? '');
  // The upstream of an import that is started.
  vi.stubGlobal('fetch', async () => new Response(null, { status: 404 }));
});

/** Headers that any HTTP answer may have; the document need not describe them. */
const OF_HTTP: ReadonlySet<string> = new Set([
  'cache-control',
  'content-length',
  'content-type',
  'strict-transport-security',
  'vary',
]);

function schemaOf(schema: JsonSchema): z.ZodType {
  const all = JSON.stringify({ ...schema, $defs: document.components.schemas });
  return z.fromJSONSchema(JSON.parse(all.replaceAll('#/components/schemas/', '#/$defs/')) as JsonSchema);
}

async function expectDescribed(key: string, response: Response): Promise<void> {
  const [method = '', path = ''] = key.split(' ');
  const described = document.paths[path]?.[method]?.responses[response.status];
  const text = await response.text();
  const what = `${key} was answered ${response.status} ${text}`;
  expect(described, what).toBeDefined();
  const names = new Set(Object.keys(described?.headers ?? {}).map((name) => name.toLowerCase()));
  const sent = [...response.headers.keys()].filter((name) => !OF_HTTP.has(name));
  expect(sent.toSorted(), what).toEqual([...names].toSorted());
  const schema = described?.content?.['application/json'].schema;
  if (schema === undefined) return expect(text, what).toBe('');
  const parsed = schemaOf(schema).safeParse(JSON.parse(text));
  expect(parsed.error?.issues ?? [], what).toEqual([]);
}

function pathOf(path: string, parameters: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(parameters[name] ?? ''));
}

async function ask(
  bindings: object,
  method: string,
  path: string,
  content: string | ReadableStream | undefined,
  as: CallOptions['as'] = 'admin',
): Promise<Response> {
  const headers = { ...(content !== undefined && { 'Content-Type': 'application/json' }) };
  return call(method, path, { as, headers, body: content ?? null, fetcher: workerWith(bindings) });
}

/** Sends a request whose body never arrives, and returns the answer. */
async function askAndStall(method: string, path: string): Promise<Response> {
  vi.useFakeTimers();
  try {
    const asked = ask({}, method, path, new ReadableStream({ type: 'bytes' }));
    await vi.waitFor(() => expect(vi.getTimerCount()).toBeGreaterThan(0));
    await vi.advanceTimersByTimeAsync(2 * STALLED_MILLISECONDS);
    return await asked;
  } finally {
    vi.useRealTimers();
  }
}

const GUESSER = { authorization: basic({ name: 'guesser', password: 'a-wrong-guess' }) };

const AWAY = {
  prepare: () => ({ bind: () => ({ all: () => Promise.reject(new Error('D1_ERROR: Network connection lost.')) }) }),
};

test('every operation of the document has an example here', () => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((m) => `${m} ${path}`),
  );
  expect(Object.keys(EXAMPLES).toSorted()).toEqual(operations.toSorted());
});

describe.each(Object.keys(EXAMPLES))('%s', (key) => {
  const [method = '', path = ''] = key.split(' ');
  const { parameters = {}, as = 'admin', body: bodyFor, isForAll = false }: Example = EXAMPLES[key] ?? {};
  const good = pathOf(path, { ...PARAMETERS, ...parameters });
  const upper = method.toUpperCase();

  test('answers as the document describes', async () => {
    const content = bodyFor === undefined ? undefined : JSON.stringify(await bodyFor());
    const json = content === undefined ? {} : { headers: { 'Content-Type': 'application/json' }, body: content };
    const { responses, requestBody, parameters: described = [] } = document.paths[path]?.[method] ?? { responses: {} };
    const answers = new Map<string, Response>();
    answers.set('nobody', await call(upper, good, json));
    answers.set('a caller without the right', await call(upper, good, { ...json, as: 'bob' }));
    // With another key, no remembered login answers for the store.
    const away = { DB_CENTRAL: AWAY, SIGNING_KEY: btoa('x'.repeat(32)) };
    answers.set('a store that is away', await ask(away, upper, good, content));
    const unlucky = { limit: async () => ({ success: false }) };
    answers.set('too many logins', await ask({ CREDENTIAL_CHECKS: unlucky }, upper, good, content, GUESSER));
    // The requests below come after this one because some of them may succeed.
    answers.set('an allowed caller', await call(upper, good, { ...json, as }));
    const absent = pathOf(path, ABSENT);
    if (absent !== path) answers.set('something absent', await call(upper, absent, { ...json, as }));
    for (const { name, in: where } of described) {
      const bad = where === 'path' ? pathOf(path, { ...PARAMETERS, [name]: '-Bad-' }) : `${good}?${name}=-Bad-`;
      answers.set(`a bad ${name}`, await call(upper, bad, { ...json, as }));
    }
    if (upper !== 'GET') {
      const large = { headers: { 'Content-Type': 'application/json' }, body: `"${'x'.repeat(70_000)}"` };
      answers.set('a large body', await call(upper, good, { ...large, as }));
    }
    if (upper !== 'GET') answers.set('a body that stalls', await askAndStall(upper, good));
    if (requestBody !== undefined) {
      const headers = { 'Content-Type': 'application/json' };
      answers.set('a bad body', await call(upper, good, { headers, as, body: '{"other":1}' }));
      answers.set('a body that is not JSON', await call(upper, good, { headers, as, body: '{' }));
      answers.set('a body of another type', await call(upper, good, { as, body: content ?? '' }));
    }
    const statuses = Object.fromEntries([...answers].map(([who, { status }]) => [who, status]));
    const success = Object.keys(responses).filter((status) => status.startsWith('2'));
    expect(statuses).toMatchObject({
      nobody: 401,
      'a caller without the right': isForAll ? 200 : 403,
      'a store that is away': 503,
      'too many logins': 429,
      ...(upper !== 'GET' && { 'a large body': 413, 'a body that stalls': 408 }),
      ...(requestBody !== undefined && {
        'a bad body': 400,
        'a body that is not JSON': 400,
        'a body of another type': 400,
      }),
    });
    expect(success).toContain(String(statuses['an allowed caller']));
    for (const response of answers.values()) await expectDescribed(key, response);
  });
});

test('a method that a path does not support is 405 with Allow, as the document says', async () => {
  expect(document.info.description).toContain('405');
  expect(document.info.description).toContain('Allow');
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter((each) => !(each.toLowerCase() in methods))) {
      const response = await call(method, pathOf(path, PARAMETERS), { as: 'admin' });
      for (const described of Object.keys(methods)) await expectDescribed(`${described} ${path}`, response.clone());
      const allowed = (response.headers.get('Allow') ?? '')
        .toLowerCase()
        .split(', ')
        .filter((each) => each !== 'head');
      expect([path, method, response.status, allowed.toSorted()]).toEqual([
        path,
        method,
        405,
        [...Object.keys(methods), 'options'].toSorted(),
      ]);
    }
  }
});

test('the document is OpenAPI 3.1, and comes from the schemas that check requests', async () => {
  const { openapi } = await (await call('GET', '/api/openapi.json')).json<{ openapi: string }>();
  expect(openapi).toBe('3.1.0');
  expect(document.components.schemas).toHaveProperty('NewOrganizationCredential.properties.rights.items.enum', [
    'pull',
    'push',
    'delete',
    'admin',
  ]);
});
