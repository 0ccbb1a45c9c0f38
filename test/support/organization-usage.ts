/** Usage and quotas of organizations on three hosts, through the management API. */
import { expect } from 'vitest';
import type { Answered, HostName, ThreeHosts } from './three-hosts.ts';

/** Makes a request about organizations. @param path the path after `/api/organizations/` */
export async function askOrganizations(
  hosts: ThreeHosts,
  method: string,
  path: string,
  { host = 'central', as = 'admin', body }: { host?: HostName; as?: 'admin' | 'alice'; body?: object } = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const { status, bytes } = await hosts.call(host, method, `/api/organizations/${path}`, {
    as,
    ...(body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return { status, body: JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown> };
}

/** Sets a quota, and tells the nodes of it. */
export async function setQuota(hosts: ThreeHosts, bytes: number | null): Promise<void> {
  const answered = await askOrganizations(hosts, 'PUT', 'alice/quota', { body: { bytes } });
  expect(answered).toMatchObject({ status: 200, body: { name: 'alice', quota: bytes } });
  await hosts.announce();
}

export async function usageOf(hosts: ThreeHosts, host: HostName = 'central'): Promise<Record<string, unknown>> {
  const { status, body } = await askOrganizations(hosts, 'GET', 'alice/usage', { host });
  expect(status).toBe(200);
  return body;
}

/** Expects that a push would exceed a quota or a limit of alice, and that the message has the words. */
export function requireRefused({ status, bytes, headers }: Answered, ...words: readonly string[]): void {
  const { errors } = JSON.parse(new TextDecoder().decode(bytes)) as { errors: { code: string; message: string }[] };
  expect([status, errors[0]?.code, headers.get('Retry-After')]).toEqual([403, 'DENIED', null]);
  for (const word of ['exceed', 'alice', ...words]) expect(errors[0]?.message).toContain(word);
}
