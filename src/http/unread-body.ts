/**
 * Reads the rest of a request's body if the handler answered without it. If the answer overtakes the body, the
 * connection is reset, and a client that is still sending never sees the answer: Go's client reports `broken pipe`.
 */
import { createMiddleware } from 'hono/factory';
import { releaseBody } from './body.ts';
import type { AppEnv } from './context.ts';
import { releaseRoom } from './large-answer.ts';

/** The most bytes that are read and dropped. A client with more to send finds its connection closed. */
const MAX_BYTES = 64 * 1024 ** 2;
/** Bodies arrive in pieces of 4 KiB. */
const PIECE_BYTES = 4096;
/** The longest time to go on reading, in milliseconds. */
const READ_ON_MILLISECONDS = 5000;

/**
 * Delays every answer until the body has been read. It must be the outermost middleware, so that challenges, refusals
 * and internal errors wait too.
 */
export const answerAfterBody = createMiddleware<AppEnv>(async (c, next) => {
  // A handler may replace `c.req.raw`, so the original is kept here.
  const { raw } = c.req;
  await next();
  releaseBody(c);
  releaseRoom(c);
  // A body of GET or HEAD means nothing (RFC 9110 §9.3.1), and looking for one would slow every pull.
  if (raw.method !== 'GET' && raw.method !== 'HEAD') await discardBody(raw);
});

/** Reads and drops the unread part of a body. A body that is stated to be empty, or over the limit, is left alone. */
export async function discardBody(request: Request): Promise<void> {
  const { body } = request;
  if (body === null || body.locked) return;
  const length = request.headers.get('Content-Length');
  if (length !== null && (Number(length) === 0 || Number(length) > MAX_BYTES)) return;
  const reader = body.getReader({ mode: 'byob' });
  const { promise: over, resolve } = Promise.withResolvers<'over'>();
  const timer = setTimeout(resolve, READ_ON_MILLISECONDS, 'over');
  const readOn = async (): Promise<void> => {
    let size = 0;
    // Small, because a thousand clients may stop sending and leave their buffers waiting.
    let buffer = new ArrayBuffer(PIECE_BYTES);
    while (size <= MAX_BYTES) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done || value === undefined) return;
      size += value.byteLength;
      ({ buffer } = value);
    }
  };
  // A read fails when the client has gone away: then no answer is needed.
  const outcome = await Promise.race([readOn().catch(() => undefined), over]);
  clearTimeout(timer);
  if (outcome !== 'over') reader.releaseLock();
  await (outcome === 'over' ? reader.cancel() : body.cancel()).catch(() => undefined);
}
