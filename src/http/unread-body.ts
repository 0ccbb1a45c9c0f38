/**
 * Reads on where a handler has answered without its request's body. The connection of an answer that overtakes the body
 * is reset, and a client that is still sending never sees the answer: Go's reports `broken pipe`.
 */
import { createMiddleware } from 'hono/factory';
import { releaseBody } from './body.ts';
import type { AppEnv } from './context.ts';
import { releaseRoom } from './large-answer.ts';

/**
 * Bytes that are read on for at most. A client that has more to send finds its connection closed, as it would at any
 * limit.
 */
const MAX_BYTES = 64 * 1024 ** 2;
/** Bodies arrive in pieces of 4 KiB. */
const PIECE_BYTES = 4096;
/** How long at most, in milliseconds. */
export const READ_ON_MILLISECONDS = 5000;

/** Outermost, so that every answer goes out after the body: a challenge, a refusal, an error of ours. */
export const answerAfterBody = createMiddleware<AppEnv>(async (c, next) => {
  // A handler may put another request in its place.
  const { raw } = c.req;
  await next();
  releaseBody(c);
  releaseRoom(c);
  await discardBody(raw);
});

/** Reads and drops what nobody has read of a body. Reads nothing of one that is too long to be read to its end. */
export async function discardBody({ body, headers }: Request): Promise<void> {
  if (body === null || body.locked || Number(headers.get('Content-Length') ?? 0) > MAX_BYTES) return;
  const reader = body.getReader({ mode: 'byob' });
  const { promise: over, resolve } = Promise.withResolvers<'over'>();
  const timer = setTimeout(resolve, READ_ON_MILLISECONDS, 'over');
  const readOn = async (): Promise<void> => {
    let size = 0;
    // Small, for as long as nothing comes: a thousand clients may have stopped sending.
    let buffer = new ArrayBuffer(PIECE_BYTES);
    while (size <= MAX_BYTES) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done || value === undefined) return;
      size += value.byteLength;
      ({ buffer } = value);
    }
  };
  // A client that has gone away needs no answer.
  const outcome = await Promise.race([readOn().catch(() => undefined), over]);
  clearTimeout(timer);
  if (outcome !== 'over') reader.releaseLock();
  await (outcome === 'over' ? reader.cancel() : body.cancel()).catch(() => undefined);
}
