/** What the parts of a node's registry share: its store, central's, and how central is asked. */
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { within } from '../../stores/deadline.ts';
import type { Store } from '../../stores/store.ts';
import type { StoredRegistryOptions } from '../stored.ts';

/** What else has to be done for a node, by queues that outlive the request. */
export interface QueueSignals {
  /** A blob was read from afar: copy it here for the next time. */
  copyBlobDown(repository: RepositoryName, digest: Digest): void;
  /** The change log has grown: the nodes' queues should follow it. */
  wakeCentral(): void;
}

export interface FederatedOptions extends StoredRegistryOptions {
  readonly replication: QueueSignals;
  /**
   * Whether to read the nearest replica of central's database. Where it has none, a session costs and gives nothing.
   */
  readonly centralHasReplicas: boolean;
}

/** What every part of a node's registry works with. */
export interface Federation {
  readonly node: Store;
  readonly central: Store;
  readonly options: FederatedOptions;
}

/** How long a node waits for central's database before it goes on with what it has, in milliseconds. */
export const CENTRAL_MILLISECONDS = 5000;

/** An answer of central's; UNAVAILABLE if there is none in time. @throws OciError UNAVAILABLE */
export async function answerOfCentral<Answer>(asked: Promise<Answer>): Promise<Answer> {
  try {
    return await within(CENTRAL_MILLISECONDS, asked);
  } catch (error) {
    throw isUnavailable(error) ? new CentralAway(error) : error;
  }
}

/** The node has no answer of its own, and central gives none. */
export class CentralAway extends OciError {
  constructor(cause?: unknown) {
    super('UNAVAILABLE', {
      message: 'this node has no answer of its own, and the central registry cannot be reached now: try again',
      cause,
      headers: { 'Retry-After': '5' },
    });
  }
}

/** A store that does not answer, as a value: the other may do. */
export function orAway(error: unknown): OciError {
  if (isUnavailable(error)) return error;
  throw error;
}
