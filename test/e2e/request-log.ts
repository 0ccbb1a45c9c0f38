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

/** What the registry was asked for while `work` ran, from its own log. */
export async function requestsDuring(registry: TemporaryRegistry, work: () => Promise<void>): Promise<LoggedRequest[]> {
  const before = await linesUntilNow(registry);
  await work();
  const after = await linesUntilNow(registry);
  return after.slice(before.length).map((line) => JSON.parse(line) as LoggedRequest);
}

/** The log is written behind the answers: a request of our own that it shows tells that all before it are there. */
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
  throw new Error(`the log ${logFile} lacks the last request`);
}

/** The blobs that were sent, not mounted: an upload ends with a PUT that names the digest. */
export function uploadedBlobs(requests: readonly LoggedRequest[], repository: string): string[] {
  return requests
    .filter((request) => request.repository === repository && request.method === 'PUT' && request.status === 201)
    .filter(({ path }) => path.includes('/blobs/uploads/'))
    .map(({ digest }) => digest ?? '');
}

/** The blobs that were taken over from another repository: a POST alone created them. */
export function mountedBlobs(requests: readonly LoggedRequest[], repository: string): string[] {
  return requests
    .filter((request) => request.repository === repository && request.method === 'POST' && request.status === 201)
    .filter(({ path }) => path.includes('/blobs/uploads'))
    .map(({ digest }) => digest ?? '');
}
