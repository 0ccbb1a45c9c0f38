/**
 * Sends requests to upstreams. Every address is checked, redirects are returned, and every wait has a deadline: for the
 * headers of an answer, and for each piece of its body.
 */
import { ContentError } from '../oci-client/content-error.ts';
import { type Request, type Transport, TransportError } from '../oci-client/transport.ts';
import { within } from '../stores/deadline.ts';
import { addressProblem, type Reach } from './address.ts';

const ANSWER_MILLISECONDS = 30_000;
const STALLED_MILLISECONDS = 30_000;
/** The most bytes of a piece of a body. Bytes are passed on as they arrive, so that a break loses none of them. */
const PIECE_BYTES = 64 * 1024;

export function upstreamTransport(reach: Reach): Transport {
  return async (url, request) => {
    const problem = addressProblem(url, reach);
    if (problem !== undefined) throw new ContentError(`a request is not sent, because ${problem}`);
    const abort = new AbortController();
    const response = await within(ANSWER_MILLISECONDS, ask(url, request, abort)).catch((error: unknown) => {
      abort.abort();
      request.signal?.throwIfAborted();
      throw new TransportError(`${url.host} does not answer`, { cause: error });
    });
    if (response.body === null) return response;
    const body = inPieces(response.body, url.host, abort);
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

function ask(url: URL, { method, headers, body, signal }: Request, abort: AbortController): Promise<Response> {
  return fetch(url, {
    method,
    headers: { 'user-agent': 'berth', 'accept-encoding': 'identity', ...headers },
    ...(typeof body === 'string' ? { body } : {}),
    redirect: 'manual',
    signal: signal === undefined ? abort.signal : AbortSignal.any([signal, abort.signal]),
  });
}

function inPieces(body: ReadableStream<Uint8Array>, host: string, abort: AbortController): ReadableStream<Uint8Array> {
  const reader = body.getReader({ mode: 'byob' });
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const piece = reader.read(new Uint8Array(PIECE_BYTES));
        const { value, done } = await within(STALLED_MILLISECONDS, piece).catch((error: unknown) => {
          abort.abort();
          throw new TransportError(`${host} stopped sending`, { cause: error });
        });
        if (done || value === undefined) controller.close();
        else controller.enqueue(value);
      },
      async cancel(reason) {
        abort.abort();
        await reader.cancel(reason).catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
