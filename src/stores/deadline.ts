/**
 * Limits how long a store may be silent. A call to D1 or R2 that never settles would hold its request, or a queue's
 * only run, forever. So the call is abandoned, and the store counts as unavailable. The store may still have done what
 * was asked, just as when an answer is lost; a caller that tries again finds out.
 */
import { MINUTE } from '../durations.ts';
import { isUnavailable, OciError } from '../oci/errors.ts';

/**
 * Returns the answer if it arrives in time.
 * @param dropLate disposes of an answer that arrives later
 * @param problem makes the error for a missing answer; UNAVAILABLE by default
 * @throws OciError UNAVAILABLE
 */
export function within<Answer>(
  milliseconds: number,
  asked: Promise<Answer>,
  dropLate: (answer: Answer) => unknown = () => undefined,
  problem: (milliseconds: number) => OciError = noAnswer,
): Promise<Answer> {
  return new Promise((answer, fail) => {
    const waiter: Waiter = { fail };
    const timer = setTimeout(giveUp, milliseconds, waiter, problem, milliseconds);
    asked.then(
      (given) => {
        clearTimeout(timer);
        if (waiter.fail === undefined) dropLate(given);
        else answer(given);
        waiter.fail = undefined;
      },
      (cause: unknown) => {
        clearTimeout(timer);
        fail(cause);
        waiter.fail = undefined;
      },
    );
  });
}

/** The longest that a request waits for a Durable Object, in milliseconds. */
const OBJECT_MILLISECONDS = 5000;

/** Returns what a Durable Object answers. @throws OciError UNAVAILABLE */
export async function answerOf<Answer>(asked: PromiseLike<Answer>): Promise<Answer> {
  try {
    return await within(OBJECT_MILLISECONDS, Promise.resolve(asked));
  } catch (cause) {
    throw new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } });
  }
}

/** The longest that a page of the console waits for one store, in milliseconds. */
export const PAGE_MILLISECONDS = 1000;

/** Returns a store's part of a page of the console; undefined if the store does not answer within a second. */
export async function forPage<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await within(PAGE_MILLISECONDS, asked);
  } catch (error) {
    if (isUnavailable(error)) return undefined;
    throw error;
  }
}

/** The longest that a store may take for `bytes` bytes, in milliseconds: a minute, and a second for each MiB. */
export function millisecondsFor(bytes: number): number {
  return MINUTE + (bytes / 1024 ** 2) * 1000;
}

/**
 * Passes all bytes of a store's object on. At its deadline the pipe is abandoned, like any other call to a store.
 * @param bytes the number of bytes
 * @throws OciError UNAVAILABLE if it takes longer than {@link millisecondsFor}
 */
export function passBytes(
  content: ReadableStream<Uint8Array>,
  to: WritableStream<Uint8Array | ArrayBuffer | ArrayBufferView>,
  bytes: number,
  options: StreamPipeOptions = {},
): Promise<void> {
  return within(millisecondsFor(bytes), content.pipeTo(to, options));
}

/**
 * The only object that a timer refers to, emptied once the answer is there. workerd may keep whatever a cleared timer
 * refers to until the timer would have fired. Without this object, it would keep every answer of the last half minute.
 */
interface Waiter {
  fail: ((error: OciError) => void) | undefined;
}

function giveUp(waiter: Waiter, problem: (milliseconds: number) => OciError, milliseconds: number): void {
  waiter.fail?.(problem(milliseconds));
  waiter.fail = undefined;
}

function noAnswer(milliseconds: number): OciError {
  return new OciError('UNAVAILABLE', { cause: new NoAnswer(milliseconds), headers: { 'Retry-After': '2' } });
}

class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  constructor(milliseconds: number) {
    super(`no answer within ${milliseconds} ms`);
  }
}
