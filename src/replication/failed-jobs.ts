/** Records failed jobs in a queue's state: the attempts, when to try again, and whether the job is parked. */
import { logFailure } from '../log.ts';
import { isUnavailable } from '../oci/errors.ts';
import { afterFailure } from './machine.ts';
import type { Pair } from './pair.ts';
import type { QueueState } from './queue-state.ts';

export interface LaneOptions extends Pair {
  readonly state: QueueState;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** Records a failed attempt of one job, and logs it. */
export function noteFailure({ state, now, random }: LaneOptions, id: string, error: unknown): void {
  const job = afterFailure(state.job(id), error, now(), random());
  state.count('retries');
  state.setJob(id, job);
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined;
  logFailure({ job: id, attempts: job.attempts, parked: job.parked, error: job.error, cause });
}

/**
 * Checks that both databases answer, so that an attempt failed because of its job rather than an outage.
 * @throws OciError UNAVAILABLE if one of them does not
 */
export async function requireDatabases({ node, central }: Pair, error: unknown): Promise<void> {
  if (!isUnavailable(error)) return;
  await Promise.all([node.database.probe(), central.database.probe()]);
}
