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
   * Whether the request needs an existing manifest in any case, as a deletion does. If there is none, the answer is
   * 404, whatever the precondition says (RFC 9110 §13.2.1).
   */
  readonly needed?: boolean;
}

/** The most attempts to check the precondition and write. After them the client is told to try again. */
const ATTEMPTS = 5;

/**
 * Checks a precondition and writes, and repeats both if another write came in between.
 * @throws OciError PRECONDITION_FAILED; UNAVAILABLE if other writes keep coming in between
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
    message: 'other clients keep writing this tag or manifest: try again',
    headers: { 'Retry-After': '1' },
  });
}

/**
 * Checks a precondition.
 * @param current the digest of what is stored. The error does not name it, because a caller with the right to push or
 *   delete may lack the right to read.
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
        ? 'If-Match names a digest, but nothing is stored: push without If-Match, or with If-None-Match: *'
        : 'the stored content does not meet If-Match or If-None-Match: read it again, then decide',
  });
}
