/** The repository `alice/app` of a mirror, as clients pull from it, on a clock that tests move. */
import { afterEach, beforeEach, vi } from 'vitest';
import { addUsers, call, type CallOptions } from './client.ts';
import { stopMirrors } from './mirrors.ts';
import { type StubUpstream, stubUpstream } from './stub-upstream.ts';

export const REPOSITORY = 'alice/app';
/** The request that a mirror asks its upstream with for the tag `v1`. */
export const HEAD_V1 = 'HEAD /v2/app/manifests/v1';
export const STALE = '110 - "Response is Stale"';
export const FAILED = '111 - "Revalidation Failed"';

/** Stops the clock in every test of a file, and returns the upstream that its mirrors ask. */
export function mirroredApp(): StubUpstream {
  const upstream = stubUpstream();
  beforeEach(async () => {
    await addUsers();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
  });
  afterEach(async () => {
    await stopMirrors();
    vi.useRealTimers();
  });
  return upstream;
}

export function pull(reference: string, options: CallOptions & { method?: string } = {}): Promise<Response> {
  return call(options.method ?? 'GET', `/v2/${REPOSITORY}/manifests/${reference}`, { as: 'alice', ...options });
}

/** Pulls a tag, and returns the parts of the answer that a client goes by. */
export async function pulled(reference: string): Promise<Record<string, unknown>> {
  const { status, headers } = await pull(reference);
  return { status, digest: headers.get('Docker-Content-Digest'), warning: headers.get('Warning') };
}

/** Moves the clock. */
export function pass(milliseconds: number): void {
  vi.setSystemTime(Date.now() + milliseconds);
}

/** The answer of an upstream that cannot be reached. */
export function away(): never {
  throw new TypeError('the network is unreachable');
}
