/**
 * How long a store may be silent. A call to D1 or R2 that never settles would hold a request, or the one run of a
 * queue, for good: it is given up, and its store taken for one that does not answer. What was asked may have been done
 * all the same: as with an answer that is lost, whoever asks again finds it done or not.
 */
import { OciError } from '../oci/errors.ts';

/**
 * The answer, if it comes in time.
 * @param dropLate what becomes of an answer that comes after that
 * @param problem what is thrown then; UNAVAILABLE unless told
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

/**
 * All that a timer refers to, and less once the answer is there: what a cleared timer refers to can stay in memory for
 * as long as it would have run (workerd), which must not be every answer of half a minute.
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
