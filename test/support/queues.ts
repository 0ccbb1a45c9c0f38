/** The nodes' real replication queues: Durable Objects with alarms. */
import { evictAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { vi } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { type ReplicationQueue, queueOf } from '../../src/replication/durable-object.ts';
import { addUsers, callApi, type CallOptions } from './client.ts';

export const config = parseConfig(env);
const STORES = config.nodes.map(({ store }) => store);

export const NODE1 = 'http://registry.localhost:8788';
export const NODE2 = 'http://registry.localhost:8789';

/** Adds the users, at all nodes too. For beforeEach. */
export async function startQueues(): Promise<void> {
  await addUsers();
  await applyChangeLog();
}

/** Stops the queues and empties their state, before the stores are emptied. For afterEach. */
export async function stopQueues(): Promise<void> {
  for (const store of [...STORES, config.central.store]) {
    await runInDurableObject(queueOf(env, config, store), async (_queue: ReplicationQueue, { storage }) => {
      await storage.deleteAlarm();
      for (const table of ['jobs', 'copies_down', 'progress', 'settings', 'hours'])
        storage.sql.exec(`DELETE FROM ${table}`);
    });
  }
  await evictAllDurableObjects();
}

/** Lets all nodes apply central's change log. */
export async function applyChangeLog(): Promise<void> {
  for (const store of STORES) await queueOf(env, config, store).changeLogHasGrown(store);
}

export interface ApiAnswer {
  readonly status: number;
  /** The JSON of the answer. */
  readonly body: unknown;
}

/** Makes a request to the management API, at central by default. */
export async function api(
  method: string,
  path: string,
  { as, host, body }: { as?: CallOptions['as']; host?: string; body?: object } = {},
): Promise<ApiAnswer> {
  const response = await callApi(method, path, as, body, host);
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
}

/** Makes a request about node1's queue, as an administrator. */
export function queue(method: string, path = '', body?: object): Promise<ApiAnswer> {
  return api(method, `replication/queues/node1${path}`, { as: 'admin', ...(body === undefined ? {} : { body }) });
}

/** Asks until `isRight` accepts the answer, and returns that answer. */
export async function eventually<Answer>(
  ask: () => Promise<Answer>,
  isRight: (answer: Answer) => boolean,
): Promise<Answer> {
  let last: Answer | undefined;
  await vi.waitUntil(async () => isRight((last = await ask())), { timeout: 30_000, interval: 50 });
  if (last === undefined) throw new Error('the last answer was undefined');
  return last;
}
