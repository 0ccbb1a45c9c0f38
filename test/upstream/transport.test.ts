/** The requests that are sent to upstreams. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { textOf } from '../../src/oci-client/answer.ts';
import { TransportError } from '../../src/oci-client/transport.ts';
import { upstreamTransport } from '../../src/upstream/transport.ts';

const URL_OF_UPLOAD = new URL('https://upstream.example/v2/app/blobs/uploads/1');
const send = upstreamTransport({ isOwn: () => false, allowsLoopback: false });

/** Answers in place of the upstream. */
let answers: (request: Request) => Response | Promise<Response>;
const received = (request: Request): Promise<Response> => request.text().then((text) => new Response(text));

beforeEach(() => {
  answers = received;
  vi.stubGlobal('fetch', async (url: URL, init: RequestInit) => {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    init.signal?.addEventListener('abort', () => reject(new Error('aborted')));
    return Promise.race([answers(new Request(url, init)), aborted]);
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Returns a stream of pieces, and whether it was cancelled. */
function source(pull: (count: number) => Uint8Array | undefined | Promise<Uint8Array>) {
  let count = 0;
  const state = { isCancelled: false, stream: new ReadableStream<Uint8Array>() };
  state.stream = new ReadableStream({
    async pull(controller) {
      const piece = await pull(count++);
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
    cancel: () => {
      state.isCancelled = true;
    },
  });
  return state;
}

test.each([
  ['a text', 'abcdef'],
  ['bytes', bytes('abcdef')],
])('the body of a request may be %s', async (_, body) => {
  const answer = await send(URL_OF_UPLOAD, { method: 'PUT', body });
  expect(await textOf(answer)).toBe('abcdef');
});

test('a stream is sent with its length', async () => {
  const { stream } = source((count) => [bytes('abc'), bytes('def')][count]);
  const answer = await send(URL_OF_UPLOAD, { method: 'PUT', body: { length: 6, stream } });
  expect(await textOf(answer)).toBe('abcdef');
});

test('a stream that fails fails the request', async () => {
  const { stream } = source(() => Promise.reject(new Error('the bytes are gone')));
  await expect(send(URL_OF_UPLOAD, { method: 'PUT', body: { length: 6, stream } })).rejects.toThrow(TransportError);
});

test('an upstream that answers before it has the body ends the stream', async () => {
  answers = () => new Response(null, { status: 413 });
  const endless = source(() => bytes('abc'));
  const answer = await send(URL_OF_UPLOAD, { method: 'PUT', body: { length: 6_000_000, stream: endless.stream } });
  expect(answer.status).toBe(413);
  await vi.waitUntil(() => endless.isCancelled);
});

test('an upstream that takes no more bytes is given up', async () => {
  vi.useFakeTimers();
  answers = () => new Promise(() => undefined);
  const endless = source(() => bytes('abc'));
  const sent = send(URL_OF_UPLOAD, { method: 'PUT', body: { length: 6_000_000, stream: endless.stream } });
  const outcome = expect(sent).rejects.toThrow('upstream.example does not answer');
  await vi.advanceTimersByTimeAsync(31_000);
  await outcome;
});
