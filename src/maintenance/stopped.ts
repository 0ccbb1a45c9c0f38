/** What a slice throws when it cannot do its work now. */
import { isUnavailable } from '../oci/errors.ts';

/**
 * The slice is tried again by the next run. The message tells an operator why; a `cause` is logged as well.
 */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}

/** Awaits what a store was asked. If the store does not answer, the slice stops. @throws Stopped */
export async function answerOf<Answer>(what: string, asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (error) {
    throw isUnavailable(error) ? new Stopped(`${what} does not answer: nothing goes before it does`) : error;
  }
}
