/** Upload sessions as their clients see them. */
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';

/** A session as a request names it. */
export interface PresentedSession {
  readonly repository: RepositoryName;
  readonly subject: string;
  readonly reference: string;
}

export interface UploadProgress {
  readonly id: string;
  /** The reference to use for the next request. */
  readonly reference: string;
  /** Bytes received. */
  readonly size: number;
}

/**
 * The error for a chunk that does not start where the session ends. The session stays open, and `progress` says where
 * it ends.
 */
export class ChunkOutOfOrder extends OciError {
  readonly progress: UploadProgress;
  constructor(progress: UploadProgress) {
    super('CHUNK_OUT_OF_ORDER', { detail: { received: progress.size } });
    this.progress = progress;
  }
}
