/** The parts of a node's registry share the node's store, central's store, and the way to ask central. */
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { logFailure } from '../../log.ts';
import { within } from '../../stores/deadline.ts';
import type { Store } from '../../stores/store.ts';
import type { StoredRegistryOptions } from '../stored.ts';
import type { LikelyKeys } from './likely-keys.ts';

/** Tells the replication queues, which outlive the request, what else has to be done. */
interface QueueSignals {
  /** Asks for a blob that was read from another store to be copied into the node's, so that the next read is near. */
  copyBlobDown(repository: RepositoryName, digest: Digest): void;
  /** Tells central's queue that the change log has grown, so that it wakes the nodes to apply it. */
  wakeCentral(): void;
}

export interface FederatedOptions extends StoredRegistryOptions {
  readonly replication: QueueSignals;
  /**
   * Whether to read the nearest replica of central's database. Without replicas, the D1 session for it would cost time
   * and gain nothing.
   */
  readonly centralHasReplicas: boolean;
  readonly likelyKeys: LikelyKeys;
  /** The longest that a question before an upload waits for other stores, in milliseconds. */
  readonly pushWaitMilliseconds: number;
}

/** The stores and options that every part of a node's registry works with. */
export interface Federation {
  readonly node: Store;
  readonly central: Store;
  readonly options: FederatedOptions;
}

/** The longest that a node waits for central's database before it continues with what it has, in milliseconds. */
export const CENTRAL_MILLISECONDS = 5000;

/**
 * Waits for an answer from central.
 * @throws OciError UNAVAILABLE if none arrives in time
 */
export async function answerOfCentral<Answer>(
  asked: Promise<Answer>,
  milliseconds = CENTRAL_MILLISECONDS,
): Promise<Answer> {
  try {
    return await within(milliseconds, asked);
  } catch (error) {
    throw isUnavailable(error) ? new CentralUnavailable(error) : error;
  }
}

/**
 * Asks other stores on behalf of a caller who may push. The caller can upload what they do not confirm in time, so it
 * waits no longer than `pushWaitMilliseconds`. The work goes on after the answer, and what it writes answers the next
 * question.
 * @param ask is told whether the caller has its answer already, and may have deleted the blob since
 * @returns undefined if the answer is not there in time, or central does not answer
 */
export async function askedBriefly<Answer>(
  { options }: Federation,
  ask: (isLate: () => boolean) => Promise<Answer>,
): Promise<Answer | undefined> {
  let isLate = false;
  const asked = ask(() => isLate);
  options.defer(
    asked.catch((error: unknown) => {
      if (!isUnavailable(error)) logFailure({ central: String(error) });
    }),
  );
  try {
    return await within(options.pushWaitMilliseconds, asked);
  } catch (error) {
    isLate = true;
    if (isUnavailable(error)) return undefined;
    throw error;
  }
}

/** Thrown when the node cannot answer by itself and central does not answer. */
export class CentralUnavailable extends OciError {
  constructor(cause?: unknown) {
    super('UNAVAILABLE', {
      message: 'this node cannot answer by itself, and the central registry cannot be reached at the moment: try again',
      cause,
      headers: { 'Retry-After': '5' },
    });
  }
}

/**
 * Turns the error of a store that does not answer into a value, so that the caller can continue with the other store.
 * Any other error is thrown again.
 */
export function orUnavailable(error: unknown): OciError {
  if (isUnavailable(error)) return error;
  throw error;
}
