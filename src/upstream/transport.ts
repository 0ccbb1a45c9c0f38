/**
 * Sends requests to upstreams. Every address is checked, redirects are returned, and every wait has a deadline: for
 * each piece of a request's body, for the headers of the answer, and for each piece of its body.
 */
import { piecesOf } from '../oci-client/answer.ts';
import { ContentError } from '../oci-client/content-error.ts';
import { type Request, type SizedStream, type Transport, TransportError } from '../oci-client/transport.ts';
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
    const sent: Sent = { at: Date.now() };
    const [content, stop] = bodyOf(request.body, sent);
    const response = await unlessStalled(ask(url, request, content, abort), sent)
      .catch((error: unknown) => {
        abort.abort();
        request.signal?.throwIfAborted();
        throw new TransportError(`${url.host} does not answer`, { cause: error });
      })
      .finally(stop);
    if (response.body === null) return response;
    const body = inPieces(response.body, url.host, abort);
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

/** When a request, or the latest piece of its body, was sent: milliseconds since the epoch. */
interface Sent {
  at: number;
}

function ask(
  url: URL,
  { method, headers, signal }: Request,
  content: RequestInit['body'],
  abort: AbortController,
): Promise<Response> {
  return fetch(url, {
    method,
    headers: { 'user-agent': 'berth', 'accept-encoding': 'identity', ...headers },
    ...(content === undefined ? {} : { body: content }),
    redirect: 'manual',
    signal: signal === undefined ? abort.signal : AbortSignal.any([signal, abort.signal]),
  });
}

/** Returns what `fetch` takes as a body, and a function that closes its source. */
function bodyOf(body: Request['body'], sent: Sent): [body: RequestInit['body'], stop: () => void] {
  if (typeof body === 'object' && 'stream' in body) return streamedBody(body, sent);
  return [body, () => undefined];
}

function streamedBody({ length, stream }: SizedStream, sent: Sent): [body: ReadableStream, stop: () => void] {
  const { readable, writable } = new FixedLengthStream(length);
  const writer = writable.getWriter();
  const stop = (reason?: unknown): void => void writer.abort(reason).catch(() => undefined);
  const pass = async (): Promise<void> => {
    for await (const piece of piecesOf(stream)) {
      await writer.write(piece);
      sent.at = Date.now();
    }
    await writer.close();
  };
  pass().catch(stop);
  return [readable, () => stop()];
}

/** Waits for an answer, for as long as the body of its request is being sent, and then for half a minute. */
async function unlessStalled(asked: Promise<Response>, sent: Sent): Promise<Response> {
  let hasFailed = false;
  asked.catch(() => (hasFailed = true));
  for (;;) {
    try {
      return await within(sent.at + ANSWER_MILLISECONDS - Date.now(), asked);
    } catch (error) {
      if (hasFailed || Date.now() >= sent.at + ANSWER_MILLISECONDS) throw error;
    }
  }
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
