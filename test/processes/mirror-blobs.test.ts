/** Blobs of a mirror, under many clients and `kill -9`. */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loggedIn, request } from '../support/local/push.ts';
import { until } from '../support/local/server.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { MemoryUpstream } from '../support/local/upstream.ts';

const MIB = 1024 ** 2;
const server = serverForFile();
let upstream: MemoryUpstream;
beforeAll(async () => {
  upstream = await MemoryUpstream.start();
  const answer = await request(loggedIn(server.current.url, 'admin'), 'PUT', '/api/organizations/bob/mirror', {
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ from: upstream.url, public: true }),
  });
  expect(answer.status).toBe(200);
});
afterAll(() => upstream.stop());

/** Asks for a blob as anybody. */
function pull(digest: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${server.current.url}/v2/bob/app/blobs/${digest}`, { headers });
}

async function digestOf(response: Response): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of response.body ?? []) hash.update(piece as Uint8Array);
  return `sha256:${hash.digest('hex')}`;
}

/** Returns the GETs of a blob, with their ranges. */
function gets(digest: string): string[] {
  return upstream.requests.filter((each) => each.startsWith('GET') && each.endsWith(digest));
}

test('64 clients that ask at once get the bytes that the upstream sends once', async () => {
  const { digest, size } = upstream.blob(randomBytes(64 * MIB));
  const answers = await Promise.all(Array.from({ length: 64 }, async () => digestOf(await pull(digest))));
  expect(new Set(answers)).toEqual(new Set([digest]));
  expect(gets(digest)).toHaveLength(1);
  expect(upstream.sent.get(digest)).toBe(size);
});

/** A client that goes on where its last answer broke off. */
class Downloader {
  readonly #digest: string;
  readonly #hash = createHash('sha256');
  arrived = 0;

  constructor(digest: string) {
    this.#digest = digest;
  }

  /** Reads to the end. @throws Error if the answer breaks off */
  async read(): Promise<void> {
    const answer = await pull(this.#digest, this.arrived > 0 ? { Range: `bytes=${this.arrived}-` } : {});
    expect(answer.status).toBe(this.arrived > 0 ? 206 : 200);
    for await (const piece of answer.body ?? []) {
      this.#hash.update(piece as Uint8Array);
      this.arrived += (piece as Uint8Array).byteLength;
    }
  }

  digest(): string {
    return `sha256:${this.#hash.digest('hex')}`;
  }
}

test('64 clients of 500 MiB go on with Range after `kill -9`, and the upstream sends nothing twice', async () => {
  const content = randomBytes(500 * MIB);
  const { digest, size } = upstream.blob(content);
  const sentBefore = 250 * MIB;
  upstream.misbehaves = ({ method, url = '' }, response) => {
    if (method !== 'GET' || !url.endsWith(digest)) return false;
    response.writeHead(200, { 'Content-Length': size });
    response.write(content.subarray(0, sentBefore));
    return true;
  };
  const clients = Array.from({ length: 64 }, () => new Downloader(digest));
  const reading = Promise.allSettled(clients.map((each) => each.read()));
  await until(() => clients.every(({ arrived }) => arrived === sentBefore), 600_000);
  await server.current.kill();
  expect((await reading).filter(({ status }) => status === 'fulfilled')).toEqual([]);
  upstream.misbehaves = () => false;
  upstream.requests.length = 0;
  await server.restart();
  await Promise.all(clients.map((each) => each.read()));
  expect(new Set(clients.map((each) => each.digest()))).toEqual(new Set([digest]));
  // Whole parts were there: the upstream sent only what came after them.
  expect(gets(digest)).toHaveLength(1);
  expect(upstream.sent.get(digest)).toBeLessThanOrEqual(size - sentBefore + 16 * MIB);
  expect(await digestOf(await pull(digest))).toBe(digest);
  expect(gets(digest)).toHaveLength(1);
}, 1_500_000);

test('a fetch that is killed goes on though nobody asks again', async () => {
  const content = randomBytes(40 * MIB);
  const { digest, size } = upstream.blob(content);
  upstream.misbehaves = ({ method, url = '' }, response) => {
    if (method !== 'GET' || !url.endsWith(digest)) return false;
    response.writeHead(200, { 'Content-Length': size });
    response.write(content.subarray(0, 30 * MIB));
    return true;
  };
  const first = await pull(digest);
  let arrived = 0;
  const read = async (): Promise<void> => {
    for await (const piece of first.body ?? []) arrived += (piece as Uint8Array).byteLength;
  };
  const reading = expect(read()).rejects.toThrow();
  await until(() => arrived === 30 * MIB);
  await server.current.kill();
  await reading;
  upstream.misbehaves = () => false;
  upstream.requests.length = 0;
  await server.restart();
  await until(() => gets(digest).length === 1);
  expect(await digestOf(await pull(digest))).toBe(digest);
  expect(gets(digest)).toHaveLength(1);
  expect(upstream.sent.get(digest)).toBeLessThan(size);
});
