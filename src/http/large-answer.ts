/**
 * Documents that are not small are on loan from the isolate's budget, from before they are read until their client has
 * got the answer. A client that stops reading loses it: others may wait for the room.
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

/** What documents leave to the bodies of requests. */
const LEFT_TO_BODIES = BUDGET_BYTES / 2;

/** Of a string that goes out. */
const BYTES_PER_CHARACTER = 2;
/** Characters that are written at once. */
const PIECE_CHARACTERS = 16 * 1024;
const LOOK_MILLISECONDS = 1000;

/** What requests have borrowed for their answers. */
const held = new WeakMap<AppContext, Loan>();

/** Room for what the answer of a request is made of; once for each request. */
export function roomFor(c: AppContext): MakeRoom {
  return async (bytes) => {
    // Of the largest, one at a time.
    const most = Math.min(bytes * COPIES_OF_DOCUMENT, BUDGET_BYTES - LEFT_TO_BODIES);
    held.set(c, await isolateBudget.wait(most, LEFT_TO_BODIES));
  };
}

/** Gives back what the request has borrowed, unless its answer is still going out. */
export function releaseRoom(c: AppContext): void {
  const loan = held.get(c);
  if (loan !== undefined) isolateBudget.giveBack(loan);
}

/**
 * An answer with a text. One for which room was made goes out in pieces, as its client takes them.
 * @param size bytes of the text; undefined where they are not known
 */
export function textAnswer(c: AppContext, text: string, headers: Record<string, string>, size?: number): Response {
  const whole = held.get(c);
  if (whole === undefined) return c.body(text, 200, headers);
  held.delete(c);
  isolateBudget.giveBack(whole);
  const loan = isolateBudget.borrow(text.length * BYTES_PER_CHARACTER);
  const { readable, writable } = size === undefined ? new IdentityTransformStream() : new FixedLengthStream(size);
  void send(text, writable.getWriter(), loan);
  return c.body(readable, 200, headers);
}

async function send(
  text: string,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  loan: Loan | undefined,
): Promise<void> {
  const encoder = new TextEncoder();
  try {
    for (let from = 0; from < text.length;) {
      const to = endOfPiece(text, from);
      await inTime(writer.write(encoder.encode(text.slice(from, to))));
      if (loan !== undefined) isolateBudget.use(loan);
      from = to;
    }
    await inTime(writer.close());
  } catch (cause) {
    await writer.abort(cause).catch(() => undefined);
  } finally {
    if (loan !== undefined) isolateBudget.giveBack(loan);
  }
}

/** Never between the halves of a character. */
function endOfPiece(text: string, from: number): number {
  const to = Math.min(text.length, from + PIECE_CHARACTERS);
  return to < text.length && /[\uD800-\uDBFF]/.test(text.charAt(to - 1)) ? to - 1 : to;
}

/**
 * Until the client has taken a piece. @throws Error where it does not, or where it is slow while others wait for room
 */
async function inTime(writing: Promise<void>): Promise<void> {
  const begunAt = Date.now();
  let timer: ReturnType<typeof setTimeout> | null = null;
  const givenUp = new Promise<never>((_, fail) => {
    const look = (): void => {
      const waited = Date.now() - begunAt;
      if (waited >= (isolateBudget.hasWaiters() ? SLOW_MILLISECONDS : STALLED_MILLISECONDS))
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
}
