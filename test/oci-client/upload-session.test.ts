import { expect, test } from 'vitest';
import { BodyLimit } from '../../src/oci-client/body-limit.ts';
import {
  appendContent,
  closeUpload,
  type Repeatable,
  type UploadOptions,
} from '../../src/oci-client/upload-session.ts';
import { type Request, TransportError } from '../../src/oci-client/transport.ts';

const MEBIBYTE = 1024 ** 2;
const REGISTRY = new URL('https://registry.test');
const SESSION = new URL('/v2/acme/app/blobs/uploads/1', REGISTRY);
const BLOB = { digest: 'sha256:abc', url: new URL('/v2/acme/app/blobs/sha256:abc', REGISTRY) };

/** The fate of a request: it breaks once this many of its mebibytes are stored, or it gets this answer. */
type Fault = { readonly breaksAfter: number } | { readonly status: number; readonly headers?: Record<string, string> };

/** A registry with one session. Only bytes that it stores are kept: `stored` has the first byte of each mebibyte. */
class Registry {
  /** `<method> <Content-Range> <mebibytes>` of each request. */
  readonly requests: string[] = [];
  stored: number[] = [];
  isClosed = false;
  readonly #faults: (Fault | undefined)[];
  readonly #largest: number;

  /** @param faults of the first requests, in their order */
  constructor({
    faults = [],
    largest = Number.POSITIVE_INFINITY,
  }: {
    faults?: (Fault | undefined)[];
    largest?: number;
  }) {
    this.#faults = faults;
    this.#largest = largest;
  }

  readonly send = async (url: URL, { method, headers = {}, body }: Request): Promise<Response> => {
    const bytes = body !== undefined && typeof body === 'object' && 'stream' in body ? await read(body.stream) : [];
    this.requests.push([method, headers['content-range'] ?? '-', bytes.length].join(' '));
    const fault = this.#faults.shift();
    if (fault !== undefined && 'status' in fault) return new Response('no', fault);
    if (bytes.length * MEBIBYTE > this.#largest) return new Response('too large', { status: 413 });
    const [start] = headers['content-range']?.split('-').map(Number) ?? [];
    if (start !== undefined && start !== this.stored.length * MEBIBYTE) return this.#progress(416);
    this.stored.push(...bytes.slice(0, fault?.breaksAfter));
    if (this.isClosed) return new Response(null, { status: method === 'HEAD' ? 200 : 404 });
    if (method === 'PUT' && fault?.breaksAfter !== 0) this.isClosed = true;
    if (fault !== undefined) throw new TransportError('the connection broke');
    if (method === 'PUT') return new Response(url.search, { status: 201 });
    return this.#progress(method === 'GET' ? 204 : 202);
  };

  #progress(status: number): Response {
    const end = Math.max(0, this.stored.length * MEBIBYTE - 1);
    return new Response(null, { status, headers: { Location: SESSION.pathname, Range: `0-${end}` } });
  }
}

/** Returns content of `count` mebibytes, each of which is streamed as its number alone. */
function mebibytes(count: number): Repeatable {
  return {
    length: count * MEBIBYTE,
    open: (start, end) =>
      new ReadableStream({
        start: (controller) => {
          for (let at = start; at < end; at += MEBIBYTE) controller.enqueue(Uint8Array.of(at / MEBIBYTE));
          controller.close();
        },
      }),
  };
}

async function read(stream: ReadableStream<Uint8Array>): Promise<number[]> {
  return [...new Uint8Array(await new Response(stream).arrayBuffer())];
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const range = (first: number, end: number): string => `${first * MEBIBYTE}-${end * MEBIBYTE - 1}`;

function options(mebibyteLimit: number): UploadOptions & { readonly limit: BodyLimit } {
  return { limit: new BodyLimit(mebibyteLimit * MEBIBYTE), sleep: async () => undefined };
}

const append = (registry: Registry, count: number, given = options(8)) =>
  appendContent(registry.send, { url: SESSION, size: 0 }, mebibytes(count), given);

test('content below the limit goes in one request, without Content-Range', async () => {
  const registry = new Registry({});
  const { answer, session } = await append(registry, 8);
  expect(registry.requests).toEqual(['PATCH - 8']);
  expect([answer.status, session.size]).toEqual([202, 8 * MEBIBYTE]);
});

test('content above the limit goes in equal chunks, each from where the one before ended', async () => {
  const registry = new Registry({});
  const { answer } = await append(registry, 18);
  expect(registry.requests).toEqual([`PATCH ${range(0, 8)} 8`, `PATCH ${range(8, 16)} 8`, `PATCH ${range(16, 18)} 2`]);
  expect(registry.stored).toEqual(upTo(18));
  expect(answer.headers.get('Range')).toBe(range(0, 18));
});

test.each([
  ['before the registry has any of it', 0],
  ['half way', 3],
  ['before its answer', 8],
])('a chunk that breaks %s continues after the bytes that the registry has', async (_name, breaksAfter) => {
  const registry = new Registry({ faults: [undefined, { breaksAfter }] });
  const { answer } = await append(registry, 16);
  expect(registry.stored).toEqual(upTo(16));
  const rest = breaksAfter === 8 ? [] : [`PATCH ${range(8 + breaksAfter, 16)} ${8 - breaksAfter}`];
  expect(registry.requests.slice(1)).toEqual([`PATCH ${range(8, 16)} 8`, 'GET - 0', ...rest]);
  expect([answer.status, answer.headers.get('Range')]).toEqual([202, range(0, 16)]);
});

test('a chunk that takes effect only after the registry was asked is not sent into the session again', async () => {
  const registry = new Registry({ faults: [undefined, { breaksAfter: 0 }] });
  const { send } = registry;
  let asked = 0;
  const late: typeof send = async (url, request) => {
    const answer = await send(url, request);
    if (request.method === 'GET' && asked++ === 0) registry.stored = upTo(16);
    return answer;
  };
  await appendContent(late, { url: SESSION, size: 0 }, mebibytes(16), options(8));
  expect(registry.stored).toEqual(upTo(16));
  expect(registry.requests.slice(2)).toEqual(['GET - 0', `PATCH ${range(8, 16)} 8`, 'GET - 0']);
});

test('a busy registry is asked again later', async () => {
  const registry = new Registry({ faults: [{ status: 503 }, { status: 520 }, { status: 429 }] });
  expect((await append(registry, 8)).answer.status).toBe(202);
  expect(registry.requests).toEqual(['PATCH - 8', 'GET - 0', 'GET - 0', 'GET - 0', 'PATCH - 8']);
});

test('a chunk that is too large is halved, and the limit stays', async () => {
  const registry = new Registry({ largest: 4 * MEBIBYTE });
  const given = options(16);
  await append(registry, 16, given);
  expect(registry.requests.map((request) => request.split(' ').at(-1))).toEqual(['16', '8', '4', '4', '4', '4']);
  expect(registry.stored).toEqual(upTo(16));
  expect(given.limit.bytes).toBe(4 * MEBIBYTE);
});

test('if a registry refuses even the smallest chunk, its answer stands, and the limit is as before', async () => {
  const registry = new Registry({ largest: 0 });
  const given = options(8);
  expect((await append(registry, 8, given)).answer.status).toBe(413);
  expect(registry.requests).toHaveLength(4);
  expect(given.limit.bytes).toBe(8 * MEBIBYTE);
});

test('a refusal ends the upload, with the answer', async () => {
  const registry = new Registry({ faults: [undefined, { status: 403 }] });
  const { answer, session } = await append(registry, 24);
  expect(registry.requests).toHaveLength(2);
  expect([answer.status, await answer.text(), session.size]).toEqual([403, 'no', 8 * MEBIBYTE]);
});

test("a chunk out of order is the caller's mistake, unless something broke before", async () => {
  const registry = new Registry({});
  registry.stored = upTo(3);
  const { answer } = await appendContent(registry.send, { url: SESSION, size: 2 * MEBIBYTE }, mebibytes(1), options(8));
  expect([answer.status, answer.headers.get('Range')]).toEqual([416, range(0, 3)]);
});

test('a registry that stays away ends the upload', async () => {
  const registry = new Registry({ faults: Array.from({ length: 20 }, () => ({ breaksAfter: 0 })) });
  await expect(append(registry, 8)).rejects.toThrow('the connection broke');
  expect(registry.requests).toHaveLength(6);
});

test('a registry that has lost bytes ends the upload', async () => {
  const registry = new Registry({ faults: [undefined, { breaksAfter: 0 }] });
  const { send } = registry;
  const forgetful: typeof send = (url, request) => {
    if (request.method === 'GET') registry.stored = [];
    return send(url, request);
  };
  const { answer } = await appendContent(forgetful, { url: SESSION, size: 0 }, mebibytes(16), options(8));
  expect(await answer.json()).toMatchObject({ errors: [{ code: 'BLOB_UPLOAD_INVALID' }] });
});

test('closing sends the last bytes along, or in chunks beforehand if there are too many', async () => {
  const small = new Registry({});
  const answer = await closeUpload(small.send, { url: SESSION, size: 0 }, mebibytes(8), BLOB, options(8));
  expect(await answer.text()).toBe('?digest=sha256%3Aabc');
  expect(small.requests).toEqual(['PUT - 8']);
  const large = new Registry({});
  await closeUpload(large.send, { url: SESSION, size: 0 }, mebibytes(9), BLOB, options(8));
  expect(large.requests).toEqual([`PATCH ${range(0, 8)} 8`, `PATCH ${range(8, 9)} 1`, 'PUT - 0']);
});

test('a closing PUT that is too large is cut', async () => {
  const registry = new Registry({ largest: 4 * MEBIBYTE });
  const answer = await closeUpload(registry.send, { url: SESSION, size: 0 }, mebibytes(8), BLOB, options(8));
  expect(answer.status).toBe(201);
  expect(registry.stored).toEqual(upTo(8));
});

test.each([
  ['took effect', 8, ['PUT - 8', 'GET - 0', 'HEAD - 0']],
  ['did not take effect', 0, ['PUT - 8', 'GET - 0', 'PUT - 8']],
])('the blob shows that a closing PUT without an answer %s', async (_name, breaksAfter, requests) => {
  const registry = new Registry({ faults: [{ breaksAfter }] });
  const answer = await closeUpload(registry.send, { url: SESSION, size: 0 }, mebibytes(8), BLOB, options(8));
  expect(answer.status).toBe(201);
  expect(registry.requests).toEqual(requests);
  expect(registry.stored).toEqual(upTo(8));
});

test('a session that a registry still lists although it is closed counts as closed if the blob is there', async () => {
  const registry = new Registry({ faults: [{ breaksAfter: 8 }] });
  const { send } = registry;
  const lists: typeof send = async (url, request) =>
    request.method === 'GET'
      ? new Response(null, { status: 204, headers: { Range: range(0, 8) } })
      : send(url, request);
  const answer = await closeUpload(lists, { url: SESSION, size: 0 }, mebibytes(8), BLOB, options(8));
  expect(answer.status).toBe(201);
  expect(registry.requests).toEqual(['PUT - 8', 'PUT - 0', 'HEAD - 0']);
});

test('the limit is that of the registry, in multiples of its smallest chunk', () => {
  const limit = new BodyLimit();
  expect(limit.bytes).toBe(64 * MEBIBYTE);
  limit.learn(new Headers({ 'OCI-Chunk-Max-Length': '20000000', 'OCI-Chunk-Min-Length': String(8 * MEBIBYTE) }));
  expect(limit.bytes).toBe(16 * MEBIBYTE);
  limit.learn(new Headers({ 'OCI-Chunk-Max-Length': String(1024 ** 3) }));
  expect(limit.bytes).toBe(16 * MEBIBYTE);
});
