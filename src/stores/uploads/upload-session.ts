/** An upload session as its client sees it. */
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';

/** A session as a client presents it. */
export interface PresentedSession {
  readonly repository: RepositoryName;
  readonly subject: string;
  readonly reference: string;
}

export interface UploadProgress {
  readonly id: string;
  /** For the next request. */
  readonly reference: string;
  /** Bytes received. */
  readonly size: number;
}

/** The session goes on: `progress` says where. */
export class ChunkOutOfOrder extends OciError {
  readonly progress: UploadProgress;
  constructor(progress: UploadProgress) {
    super('CHUNK_OUT_OF_ORDER', { detail: { received: progress.size } });
    this.progress = progress;
  }
}
