/** Lets requests and the cron trigger reach the replication queues. */
import type { Config } from '../config.ts';
import { logFailure } from '../log.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Queues } from '../registry/compose.ts';
import { queueOf } from './durable-object.ts';

/**
 * Returns functions that call the queues after the response. A call that fails costs only time: the outbox entries
 * stay, and the cron trigger wakes all queues once a minute.
 */
export function composeQueues(config: Config, env: object, defer: (work: Promise<unknown>) => void): Queues {
  const later = (store: StoreName, what: string, work: () => Promise<unknown>): void => {
    // Without nodes there is nothing to move.
    if (config.nodes.length === 0) return;
    const attempt = async (): Promise<void> => {
      try {
        await work();
      } catch (error) {
        logFailure({ queue: store, failed: what, error: String(error) });
      }
    };
    defer(attempt());
  };
  return {
    wake: (store) => later(store, 'wake', () => queueOf(env, config, store).wake(store)),
    copyBlobDown: (store, repository, digest) =>
      later(store, 'copy down', () => queueOf(env, config, store).copyBlobsDown(store, repository, [digest])),
  };
}

/** Wakes all queues, once a minute, to make up for any wake-up that was lost. */
export async function wakeAllQueues(config: Config, env: object): Promise<void> {
  const stores = new Set(config.nodes.map(({ store }) => store));
  const outcomes = await Promise.allSettled([...stores].map((store) => queueOf(env, config, store).everyMinute(store)));
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') logFailure({ queues: String(outcome.reason) });
  }
}
