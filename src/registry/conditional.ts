/** Writes under If-Match and If-None-Match. */
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { holds, type Precondition } from '../oci/precondition.ts';
import type { Reference } from '../oci/reference.ts';
import { ShownChanged } from '../stores/deletion/shown.ts';

/** A precondition, and the reference whose manifest it is about. */
export interface Conditional {
  readonly reference: Reference;
  readonly precondition: Precondition;
  /**
   * Whether something has to be there anyway, and the answer is 404 where nothing is, whatever the precondition (RFC
   * 9110 §13.2.1).
   */
  readonly needed?: boolean;
}

/** Writes that may come between judging and writing before the client is told to try again. */
const ATTEMPTS = 5;

/**
 * Judges and writes, and does so again where another write came between. @throws OciError PRECONDITION_FAILED,
 * UNAVAILABLE
 */
export async function untilUndisturbed<Written>(judgeAndWrite: () => Promise<Written>): Promise<Written> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      return await judgeAndWrite();
    } catch (error) {
      if (!(error instanceof ShownChanged)) throw error;
    }
  }
  throw new OciError('UNAVAILABLE', {
    message: 'others keep writing this tag or manifest: try again',
    headers: { 'Retry-After': '1' },
  });
}

/**
 * @param current the digest of what is there; the error does not name it: who may push or delete need not be allowed to
 *   read
 * @throws OciError PRECONDITION_FAILED
 */
export function requireHolds(
  { precondition, needed = false }: Omit<Conditional, 'reference'>,
  current: Digest | undefined,
): void {
  if (holds(precondition, current) || (needed && current === undefined)) return;
  throw new OciError('PRECONDITION_FAILED', {
    message:
      current === undefined
        ? 'If-Match names something, but nothing is there: push without it, or with If-None-Match: *'
        : 'If-Match or If-None-Match does not agree with what is there: read it again, then decide',
  });
}
