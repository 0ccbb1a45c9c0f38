/** The audit log, read over HTTP. */
import { expect } from 'vitest';
import type { UserName } from './client.ts';
import { api } from './queues.ts';

export interface Entry {
  readonly at: string;
  readonly action: string;
  readonly organization: string | null;
  readonly repository: string | null;
  readonly key: string | null;
  readonly by: { readonly id: string; readonly name: string | null } | null;
  readonly host: string | null;
  readonly address: string | null;
  readonly count: number;
  readonly store: string;
}

interface Log {
  readonly entries: readonly Entry[];
  readonly last: string | null;
}

export async function log(as: UserName = 'admin', path = 'audit', query = ''): Promise<Log> {
  const { status, body } = await api('GET', `${path}${query}`, { as });
  expect(status).toBe(200);
  return body as Log;
}
