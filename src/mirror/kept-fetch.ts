import type { BlobWanted } from './blob.ts';

/** A fetch as storage keeps it. A blob without parts is not kept there: it would begin anew. */
export interface Kept {
  readonly wanted: BlobWanted;
  /** Bytes. */
  readonly size: number;
  /** Distinguishes the parts of this blob from all others. */
  readonly id: string;
  /** The bytes that are in parts. */
  readonly landed: number;
  /** Attempts in a row that have come no further. */
  readonly failures: number;
  /** Whether nothing is left to do but to delete the parts. */
  readonly isOver: boolean;
}
