/**
 * Sends answers that may be large. Their bytes are on loan from the isolate's budget, from before the document is read
 * until the client has received it. A client that stops reading loses its answer. So does a client that has not
 * received the whole answer in {@link SLOW_MILLISECONDS} while others wait for the room, however steadily it reads.
 */
import {
  BUDGET_BYTES,
  COPIES_OF_DOCUMENT,
  isolateBudget,
  type Loan,
  SLOW_MILLISECONDS,
  STALLED_MILLISECONDS,
} from '../registry/buffering.ts';
import type { MakeRoom } from '../registry/registry.ts';
import type { AppContext } from './context.ts';

/** Bytes of the budget that answers leave for the bodies of requests. */
const LEFT_TO_BODIES = BUDGET_BYTES / 2;

/** Memory that a string takes while it is sent. */
const BYTES_PER_CHARACTER = 2;
/** Characters that are written at a time. */
const PIECE_CHARACTERS = 16 * 1024;
const LOOK_MILLISECONDS = 1000;

/** Loans of requests that are building their answers. */
const held = new WeakMap<AppContext, Loan>();

/** Returns a function that waits for room for the request's answer. Call that function once per request. */
export function roomFor(c: AppContext): MakeRoom {
  return async (bytes) => {
    // The cap makes the largest documents wait for each other.
    const most = Math.min(bytes * COPIES_OF_DOCUMENT, BUDGET_BYTES - LEFT_TO_BODIES);
    held.set(c, await isolateBudget.wait(most, LEFT_TO_BODIES));
  };
}

/** Returns the request's loan to the budget, unless its answer is still being sent. */
export function releaseRoom(c: AppContext): void {
  const loan = held.get(c);
  if (loan !== undefined) isolateBudget.giveBack(loan);
}

/**
 * Returns an answer with a text. If {@link roomFor} made room for it, it is sent in pieces, as fast as the client
 * reads.
 * @param size bytes of the text; undefined if unknown
 */
export function textAnswer(c: AppContext, text: string, headers: Record<string, string>, size?: number): Response {
  // Nobody would read the stream of an answer to HEAD.
  if (c.req.method === 'HEAD') return c.body(null, 200, headers);
  const whole = held.get(c);
  // `c.body` would make Headers of them first, which takes 2 % of a manifest GET. Without it, this answer lacks the
  // headers that `c.header` has set.
  if (whole === undefined) return new Response(text, { headers });
  held.delete(c);
  isolateBudget.giveBack(whole);
  const loan = isolateBudget.borrow(text.length * BYTES_PER_CHARACTER);
  const { readable, writable } = size === undefined ? new IdentityTransformStream() : new FixedLengthStream(size);
  // Without waitUntil, a client that goes away ends the request before the loan is returned.
  c.executionCtx.waitUntil(send(text, writable.getWriter(), loan));
  return c.body(readable, 200, headers);
}

/** Sends a finished page in the way of {@link textAnswer}, if {@link roomFor} made room for it. */
export async function pacedPage(c: AppContext, page: Response): Promise<Response> {
  if (!held.has(c) || page.body === null) return page;
  const { body } = textAnswer(c, await page.text(), {});
  return new Response(body, page);
}

async function send(
  text: string,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  loan: Loan | undefined,
): Promise<void> {
  const encoder = new TextEncoder();
  const begunAt = Date.now();
  try {
    for (let from = 0; from < text.length;) {
      const to = endOfPiece(text, from);
      await inTime(writer.write(encoder.encode(text.slice(from, to))), begunAt);
      if (loan !== undefined) isolateBudget.use(loan);
      from = to;
    }
    await inTime(writer.close(), begunAt);
  } catch (cause) {
    await writer.abort(cause).catch(() => undefined);
  } finally {
    if (loan !== undefined) isolateBudget.giveBack(loan);
  }
}

/** Returns where a piece ends: never between the two halves of a surrogate pair. */
function endOfPiece(text: string, from: number): number {
  const to = Math.min(text.length, from + PIECE_CHARACTERS);
  return to < text.length && /[\uD800-\uDBFF]/.test(text.charAt(to - 1)) ? to - 1 : to;
}

/**
 * Waits until the client has taken a piece.
 * @param answerBegunAt when the first piece was written
 * @throws Error if the client takes nothing for too long, or receives the whole answer too slowly while others wait
 */
async function inTime(writing: Promise<void>, answerBegunAt: number): Promise<void> {
  const begunAt = Date.now();
  let timer: ReturnType<typeof setTimeout> | null = null;
  const givenUp = new Promise<never>((_, fail) => {
    const look = (): void => {
      if (isTooSlow(answerBegunAt) || Date.now() - begunAt >= STALLED_MILLISECONDS)
        fail(new Error('the client has stopped reading'));
      else timer = setTimeout(look, LOOK_MILLISECONDS);
    };
    timer = setTimeout(look, LOOK_MILLISECONDS);
  });
  try {
    await Promise.race([writing, givenUp]);
  } finally {
    clearTimeout(timer);
  }
  // The timer never fires for a client that takes each piece just before it.
  if (isTooSlow(answerBegunAt)) throw new Error('the client reads too slowly');
}

/** Returns whether the answer has held its room long enough that others may have it. */
function isTooSlow(answerBegunAt: number): boolean {
  return Date.now() - answerBegunAt >= SLOW_MILLISECONDS && isolateBudget.hasWaiters();
}
