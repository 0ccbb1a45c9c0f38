/** The error of a slice that cannot do its work now. */
import { isUnavailable } from '../oci/errors.ts';

/** Stops a slice, which the next run tries again. The message tells an operator why. A `cause` is logged. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}

/**
 * Awaits a store's answer.
 * @param what names the store in the message
 * @throws Stopped if the store does not answer
 */
export async function answerOf<Answer>(what: string, asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (error) {
    throw isUnavailable(error) ? new Stopped(`${what} does not answer: this task waits until it does`) : error;
  }
}
