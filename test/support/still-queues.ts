/** Replication queues that do nothing, for tests of what a request itself changes. */
import { env } from 'cloudflare:workers';
import { vi } from 'vitest';

const STILL = {
  wake: async () => undefined,
  changeLogHasGrown: async () => undefined,
  everyMinute: async () => undefined,
  hours: async () => [],
  copyBlobsDown: async () => undefined,
  copiesDownLeft: async () => 0,
  status: () => Promise.reject(new Error('this queue does not answer')),
  turns: async () => ({ copying: [], waiting: [] }),
  jobs: async () => [],
  parkedJobs: async () => [],
  retry: async () => 0,
  setPaused: async () => undefined,
  announceAll: async () => undefined,
};

export function keepQueuesStill(): void {
  vi.spyOn(env.REPLICATION_QUEUE, 'get').mockReturnValue(
    STILL as unknown as ReturnType<typeof env.REPLICATION_QUEUE.get>,
  );
}
