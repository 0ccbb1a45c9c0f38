/**
 * Invariant 7 on the wire: a client can read a refusal that comes before its body was read. Go's HTTP client sends its
 * whole body first; if the server closes the connection meanwhile, it may report `broken pipe` instead of the answer.
 */
import { beforeAll, expect, test } from 'vitest';
import { buildGoClient, type GoExchange } from '../support/local/go-client.ts';
import { loggedIn, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const MIB = 1024 * 1024;
/**
 * The number of times that each size is sent with Content-Length, and again without. Large bodies show no more than
 * small ones, and take longer.
 */
const SENT: readonly (readonly [size: number, times: number])[] = [
  [200_000, 10],
  [MIB, 10],
  [8 * MIB, 4],
  [32 * MIB, 1],
];
const TOO_LARGE: typeof SENT = [
  [8 * MIB, 8],
  [32 * MIB, 2],
];

const server = serverForFile();
let send: ReturnType<typeof buildGoClient>;
beforeAll(() => {
  send = buildGoClient(server.folder);
});

const DIGEST = `sha256:${'0'.repeat(64)}`;
const alice = () => loggedIn(server.current.url, 'alice').authorization;

type Refused = Pick<GoExchange, 'method' | 'headers'> & { readonly path: string };

async function outOfOrder(size: number): Promise<Refused> {
  const opened = await request(loggedIn(server.current.url, 'alice'), 'POST', '/v2/alice/early/blobs/uploads/');
  const path = opened.headers.get('Location') ?? '';
  return { method: 'PATCH', path, headers: { Authorization: alice(), 'Content-Range': `5-${size + 4}` } };
}

const asAlice =
  (method: string, path: string, headers: Record<string, string> = {}) =>
  (): Refused => ({
    method,
    path,
    headers: { Authorization: alice(), ...headers },
  });

test.each<[name: string, status: number, refused: (size: number) => Refused | Promise<Refused>]>([
  ['no credentials', 401, () => ({ method: 'PATCH', path: '/v2/alice/early/blobs/uploads/x', headers: {} })],
  ['a wrong repository', 403, asAlice('PUT', `/v2/bob/early/blobs/uploads/x?digest=${DIGEST}`)],
  ['an invalid repository name', 400, asAlice('PUT', `/v2/alice/EARLY/blobs/uploads/x?digest=${DIGEST}`)],
  ['a name without an organization', 403, asAlice('POST', '/v2/early/blobs/uploads/')],
  ['an unknown upload', 404, asAlice('PATCH', '/v2/alice/early/blobs/uploads/x')],
  ['an unknown path', 404, asAlice('POST', '/nothing')],
  ['an unsupported method', 405, asAlice('POST', '/v2/_catalog')],
  ['a chunk out of order', 416, outOfOrder],
  [
    'a failed condition',
    412,
    asAlice('POST', `/v2/alice/early/blobs/uploads/?digest=${DIGEST}`, { 'If-Match': '"x"' }),
  ],
  ['a missing digest', 400, asAlice('PUT', '/v2/alice/early/blobs/uploads/x')],
  ['the management API without credentials', 401, () => ({ method: 'POST', path: '/api/organizations', headers: {} })],
])('%s: a Go client reads the %i, whatever it sends', async (_name, status, refused) => {
  const exchanges: GoExchange[] = [];
  for (const [size, times] of SENT) {
    const { method, path, headers } = await refused(size);
    const url = new URL(path, server.current.url).href;
    for (const chunked of [false, true]) exchanges.push({ method, url, headers, size, chunked, times });
  }
  const outcomes = await send(exchanges);
  expect(outcomes).toEqual(exchanges.map(({ times }) => ({ [String(status)]: times })));
});

test('a Go client reads the 429 after too many failed logins', async () => {
  const headers = { Authorization: `Basic ${Buffer.from('mallory:wrong').toString('base64')}` };
  const url = `${server.current.url}/v2/alice/early/blobs/uploads/x`;
  const exchangesOf = (size: number, times: number): GoExchange[] =>
    [false, true].map((chunked) => ({ method: 'PATCH', url, headers, size, chunked, times }));
  await send(exchangesOf(0, 40));
  const exchanges = SENT.flatMap(([size, times]) => exchangesOf(size, times));
  expect(await send(exchanges)).toEqual(exchanges.map(({ times }) => ({ 429: times })));
});

test('a Go client reads the 403 for a quota that is used up', async () => {
  const { url } = server.current;
  const admin = loggedIn(url, 'admin');
  const quota = await request(admin, 'PUT', '/api/organizations/bob/quota', {
    body: JSON.stringify({ bytes: 1000 }),
    headers: { 'Content-Type': 'application/json' },
  });
  expect(quota.status).toBe(200);
  const bob = loggedIn(url, 'bob');
  const opened = await request(bob, 'POST', '/v2/bob/early/blobs/uploads/');
  const exchanges = SENT.flatMap(([size, times]) =>
    [false, true].map((chunked): GoExchange => ({
      method: 'PATCH',
      url: new URL(opened.headers.get('Location') ?? '', url).href,
      headers: { Authorization: bob.authorization },
      size,
      chunked,
      times,
    })),
  );
  expect(await send(exchanges)).toEqual(exchanges.map(({ times }) => ({ 403: times })));
});

test('a Go client reads the 413 for a manifest that is too large', async () => {
  const exchanges = TOO_LARGE.flatMap(([size, times]) =>
    [false, true].map((chunked): GoExchange => ({
      method: 'PUT',
      url: `${server.current.url}/v2/alice/early/manifests/latest`,
      headers: { Authorization: alice(), 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' },
      size,
      chunked,
      times,
    })),
  );
  expect(await send(exchanges)).toEqual(exchanges.map(({ times }) => ({ 413: times })));
});
