import type { Algorithm, Digest } from '../oci/digest.ts';
import type { Transport } from './transport.ts';

/** A hash of content that arrives in pieces. `ResumableHash` is one; the program uses Node's, which is faster. */
export interface StreamingHash {
  update(bytes: Uint8Array): void;
  digest(): Digest;
}

/** The functions that the client needs from its environment. */
export interface Surroundings {
  readonly transport: Transport;
  readonly startHash: (algorithm: Algorithm) => StreamingHash;
  /**
   * Waits before another attempt. By default, with a timer, and for a minute at most.
   * @param failure why the last one failed
   * @throws the signal's reason once it is aborted
   */
  readonly sleep?: (milliseconds: number, signal: AbortSignal | undefined, failure: Error) => Promise<void>;
}
