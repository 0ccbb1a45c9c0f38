import type { Digest } from '../oci/digest.ts';

/** Bytes with a known digest, which can be read from anywhere and more than once. */
export interface Content {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /**
   * Opens a part of the bytes.
   * @param end the byte after the last
   */
  open(start: number, end: number): ReadableStream<Uint8Array>;
}
