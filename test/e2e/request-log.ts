import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import type { TemporaryRegistry } from './temporary-registry.ts';

export interface LoggedRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly repository?: string;
  readonly digest?: string;
}

const PATIENCE_MS = 10_000;

/** Returns the requests that the registry logged during `work`. */
export async function requestsDuring(registry: TemporaryRegistry, work: () => Promise<void>): Promise<LoggedRequest[]> {
  const before = await linesUntilNow(registry);
  await work();
  const after = await linesUntilNow(registry);
  return after.slice(before.length).map((line) => JSON.parse(line) as LoggedRequest);
}

/**
 * Returns the log's lines. The log is written after the answers, so this sends a request and waits until it is logged.
 */
async function linesUntilNow({ host, logFile }: TemporaryRegistry): Promise<string[]> {
  const marker = randomUUID();
  await fetch(`http://${host}/${marker}`);
  const deadline = Date.now() + PATIENCE_MS;
  while (Date.now() < deadline) {
    const lines = (await readFile(logFile, 'utf8')).split('\n').filter((line) => line.startsWith('{'));
    const index = lines.findIndex((line) => line.includes(marker));
    if (index >= 0) return lines.slice(0, index + 1);
    await setTimeout(20);
  }
  throw new Error(`the log ${logFile} does not contain the last request`);
}

/** Returns the blobs that were sent, not mounted: their upload ends with a PUT that names the digest. */
export function uploadedBlobs(requests: readonly LoggedRequest[], repository: string): string[] {
  return requests
    .filter((request) => request.repository === repository && request.method === 'PUT' && request.status === 201)
    .filter(({ path }) => path.includes('/blobs/uploads/'))
    .map(({ digest }) => digest ?? '');
}

/** Returns the blobs that were mounted from another repository: a single POST created them. */
export function mountedBlobs(requests: readonly LoggedRequest[], repository: string): string[] {
  return requests
    .filter((request) => request.repository === repository && request.method === 'POST' && request.status === 201)
    .filter(({ path }) => path.includes('/blobs/uploads'))
    .map(({ digest }) => digest ?? '');
}
