/**
 * How long a store may be silent. A call to D1 or R2 that never settles would hold a request, or the one run of a queue,
 * for good: it is given up, and its store taken for one that does not answer. What was asked may have been done all the
 * same: as with an answer that is lost, whoever asks again finds it done or not.
 */
import { OciError } from '../oci/errors.ts';

/**
 * The answer, if it comes in time.
 * @param dropLate what becomes of an answer that comes after that
 * @throws OciError UNAVAILABLE
 */
export function within<Answer>(
  milliseconds: number,
  asked: Promise<Answer>,
  dropLate: (answer: Answer) => unknown = () => undefined,
): Promise<Answer> {
  return new Promise((answer, fail) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      fail(new OciError('UNAVAILABLE', { cause: new NoAnswer(milliseconds), headers: { 'Retry-After': '2' } }));
    }, milliseconds);
    asked.then(
      (given) => {
        clearTimeout(timer);
        if (late) dropLate(given);
        else answer(given);
      },
      (cause: unknown) => {
        clearTimeout(timer);
        fail(cause);
      },
    );
  });
}

class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  constructor(milliseconds: number) {
    super(`no answer within ${milliseconds} ms`);
  }
}
