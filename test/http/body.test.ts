/** Invariant 8: request bodies that clients never finish leave room for those of others. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readBodyOfAnybody, readManifestBody, readSmallBody, releaseBody } from '../../src/http/body.ts';
import type { AppContext } from '../../src/http/context.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { BUDGET_BYTES, isolateBudget, WAIT_MILLISECONDS } from '../../src/stores/uploads/buffer-budget.ts';
import { STALLED_MILLISECONDS } from '../../src/stores/uploads/body-reader.ts';
import { bytesOf } from '../support/fixture.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

/** Returns the context of a request that has sent `sent` bytes of `length`. */
function contextOf(length: number, sent = length): AppContext {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  void writer.write(bytesOf(1, sent)).catch(() => undefined);
  if (sent === length) void writer.close().catch(() => undefined);
  const raw = { body: readable, headers: new Headers({ 'Content-Length': String(length) }) };
  return { req: { raw } } as unknown as AppContext;
}

const LARGEST = 64 * 1024;
const ALICE = 'alice' as OrganizationName;

test('unfinished forms take at most half of the budget, so documents of logged-in callers are still read', async () => {
  const forms = Array.from({ length: 440 }, () => contextOf(LARGEST, LARGEST - 1));
  const reading = forms.map((c) => readBodyOfAnybody(c).catch((error: unknown) => error));
  await vi.waitUntil(() => isolateBudget.inUse() > BUDGET_BYTES / 2 - LARGEST);
  expect(isolateBudget.inUse()).toBeLessThanOrEqual(BUDGET_BYTES / 2);

  const manifest = contextOf(1024 * 1024);
  expect(await readManifestBody(manifest, 4 * 1024 * 1024, ALICE)).toHaveLength(1024 * 1024);
  releaseBody(manifest);
  const document = contextOf(LARGEST);
  expect(await readSmallBody(document)).toHaveLength(LARGEST);
  releaseBody(document);

  await vi.advanceTimersByTimeAsync(Math.max(WAIT_MILLISECONDS, STALLED_MILLISECONDS));
  await vi.advanceTimersByTimeAsync(STALLED_MILLISECONDS);
  const kinds = (await Promise.all(reading)).map((error) => (error as { kind?: string }).kind);
  expect(new Set(kinds)).toEqual(new Set(['BODY_STALLED', 'UNAVAILABLE']));
  for (const c of forms) releaseBody(c);
  expect(isolateBudget.inUse()).toBe(0);
});

test('a document counts several times its size while it is in use, and nothing once the request is answered', async () => {
  const c = contextOf(100_000);
  const bytes = await readManifestBody(c, 4 * 1024 * 1024, ALICE);
  expect(bytes).toEqual(bytesOf(1, 100_000));
  expect(isolateBudget.inUse()).toBe(600_000);
  releaseBody(c);
  expect(isolateBudget.inUse()).toBe(0);
});
