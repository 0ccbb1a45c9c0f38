/**
 * A client that disconnects in the middle of a body is 499 in the log and the metrics, so that it does not count as a
 * failure of the registry.
 */
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loggedIn, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { until } from '../support/local/server.ts';

const server = serverForFile();

const DIGEST = `sha256:${'0'.repeat(64)}`;

interface Line {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly error?: string;
}

async function lines(): Promise<Line[]> {
  const log = await readFile(join(server.folder, 'log.jsonl'), 'utf8');
  return log.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return [];
    try {
      return [JSON.parse(line) as Line];
    } catch {
      return [];
    }
  });
}

/** Sends the head of a request and part of its body, and disconnects once the registry has begun to read. */
async function goAway(method: string, path: string, framing: string, body: string): Promise<void> {
  const { url, port } = server.current;
  const { authorization } = loggedIn(url, 'alice');
  const head = [`${method} ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, `Authorization: ${authorization}`, framing];
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await new Promise<void>((done) => socket.on('connect', done));
  await new Promise<void>((done) => void socket.write(`${head.join('\r\n')}\r\n\r\n${body}`, () => done()));
  // Nothing shows that the registry reads the body: the time that another request takes is enough.
  await (await request(loggedIn(url, 'alice'), 'GET', '/v2/')).arrayBuffer();
  await new Promise<void>((done) => {
    socket.on('close', () => done());
    socket.destroy();
  });
}

async function upload(): Promise<string> {
  const opened = await request(loggedIn(server.current.url, 'alice'), 'POST', '/v2/alice/gone/blobs/uploads/');
  return new URL(opened.headers.get('Location') ?? '', server.current.url).pathname;
}

/** Returns the path that closes an upload with one chunk. */
async function continued(): Promise<string> {
  const caller = loggedIn(server.current.url, 'alice');
  const patched = await request(caller, 'PATCH', await upload(), { body: 'a chunk' });
  return `${new URL(patched.headers.get('Location') ?? '', server.current.url).pathname}?digest=${DIGEST}`;
}

const MIB = 1024 * 1024;
const LENGTH = `Content-Length: ${MIB}`;
const CHUNKED = 'Transfer-Encoding: chunked';
const CHUNK = `1000\r\n${'a'.repeat(4096)}\r\n`;

test.each<[name: string, method: string, path: () => Promise<string> | string, framing: string, body: string]>([
  ['a chunk of known length', 'PATCH', upload, LENGTH, 'a'.repeat(100_000)],
  ['a chunk of unknown length', 'PATCH', upload, CHUNKED, CHUNK],
  ['a whole blob', 'PUT', async () => `${await upload()}?digest=${DIGEST}`, LENGTH, 'a'.repeat(100_000)],
  ['a whole blob of unknown length', 'PUT', async () => `${await upload()}?digest=${DIGEST}`, CHUNKED, CHUNK],
  ['the last of several chunks', 'PUT', continued, LENGTH, 'a'.repeat(100_000)],
  ['the last of several chunks, of unknown length', 'PUT', continued, CHUNKED, CHUNK],
  [
    'a blob without a session',
    'POST',
    () => `/v2/alice/gone/blobs/uploads/?digest=${DIGEST}`,
    LENGTH,
    'a'.repeat(100_000),
  ],
  ['a manifest', 'PUT', () => '/v2/alice/gone/manifests/a', LENGTH, 'a'.repeat(100_000)],
  ['a manifest of unknown length', 'PUT', () => '/v2/alice/gone/manifests/b', CHUNKED, CHUNK],
  ['a form', 'POST', () => '/token', 'Content-Length: 1000', 'grant_type'],
  ['a list of images', 'GET', () => '/v1/images/list', 'Content-Length: 1000', '['],
  ['a document of the management API', 'POST', () => '/api/organizations', 'Content-Length: 1000', '{'],
])('%s', async (_name, method, pathOf, framing, body) => {
  const path = await pathOf();
  const before = (await lines()).length;
  await goAway(method, path, framing, body);
  // Filters by method, because the line of the request that opened the upload may be written late.
  const seen = async (): Promise<Line[]> =>
    (await lines()).slice(before).filter((line) => line.method === method && line.path !== '/v2/');
  await until(async () => (await seen()).length > 0);
  expect((await seen()).map(({ status, error }) => [status, error])).toEqual([[499, 'UNKNOWN']]);
});
