import type { BlobWanted } from './answers.ts';

/** A fetch in the storage of its object. A blob without parts is not kept there, because its fetch begins anew. */
export interface Kept {
  readonly wanted: BlobWanted;
  /** Bytes. */
  readonly size: number;
  /** Distinguishes the parts of this blob from all others. */
  readonly id: string;
  /** The bytes that are in parts. */
  readonly landed: number;
  /** Failed attempts since the last part. */
  readonly failures: number;
  /** Whether only the parts are left to delete. */
  readonly isOver: boolean;
}
