/** Blobs that only an upstream has, and checks of how they arrive. */
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, vi } from 'vitest';
import type { BlobWanted } from '../../src/mirror/answers.ts';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import { blobObjectOf } from '../../src/mirror/mirror-object.ts';
import type { Namespace } from '../../src/namespaces/namespace.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { isolateBudget } from '../../src/stores/uploads/buffer-budget.ts';
import { bytesOf, granted, openFixture } from './fixture.ts';
import { becomeMirror, mirror } from './mirrors.ts';
import { config } from './queues.ts';
import { type StubUpstream, UPSTREAM } from './stub-upstream.ts';

export const REPOSITORY = 'hub/team/app' as RepositoryName;

export interface MirroredBlob {
  readonly wanted: BlobWanted;
  readonly content: Uint8Array<ArrayBuffer>;
}

let seed = 100;

/** Returns a check that a test has given back the memory that it borrowed. */
export function checkLoans(): () => void {
  // A fetch of an earlier file that was killed leaves loans, which count as lost after two minutes.
  let before = 0;
  beforeEach(() => {
    before = isolateBudget.inUse();
  });
  return () => expect(isolateBudget.inUse()).toBeLessThanOrEqual(before);
}

/** Adds a blob with content of its own to the upstream. */
export async function blobOf(
  upstream: StubUpstream,
  size: number,
  namespace: Namespace = config.central,
): Promise<MirroredBlob> {
  const { bytes: content, digest } = await upstream.blob(bytesOf(seed++, size));
  const from = mirror('hub', { from: UPSTREAM });
  return { content, wanted: { namespace, mirror: from, repository: REPOSITORY, digest: digest as Digest, size } };
}

export function objectOf({ wanted }: MirroredBlob): ReturnType<typeof blobObjectOf> {
  return blobObjectOf(env, wanted);
}

/** Reads a blob, or a range of it, as a client that asks for it. */
export async function read(blob: MirroredBlob, range?: { start: number; end: number }): Promise<Uint8Array> {
  const opened = await objectOf(blob).open(blob.wanted, range);
  return bytesIn(opened!.content);
}

export async function bytesIn(content: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(content).arrayBuffer());
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}

/** Returns the bytes of the blob in central's store. @throws OciError BLOB_UNKNOWN */
export async function stored({ wanted }: MirroredBlob): Promise<Uint8Array> {
  const { registry } = await openFixture();
  const found = await registry.getBlob(granted(wanted.repository), wanted.digest);
  return bytesIn(await found.open());
}

/** Returns the keys of parts in central's bucket. */
export async function parts(): Promise<string[]> {
  const { objects } = await env.BLOBS_CENTRAL.list({ prefix: 'mirror/' });
  return objects.map(({ key }) => key);
}

/** Reads until the upstream has stalled and some parts are there, and then kills the Durable Object. */
export async function killAt(upstream: StubUpstream, blob: MirroredBlob, at: number): Promise<void> {
  upstream.stalls(at);
  const opened = await objectOf(blob).open(blob.wanted);
  const reader = opened!.content.getReader();
  await reader.read();
  await vi.waitFor(async () => expect((await parts()).length).toBe(Math.floor(at / PART_BYTES)), { timeout: 30_000 });
  const kill = runInDurableObject(objectOf(blob), (_blob, state) => state.abort('killed'));
  await expect(kill).rejects.toThrow();
  await expect(
    Promise.resolve().then(async () => {
      while (!(await reader.read()).done);
    }),
  ).rejects.toThrow();
  upstream.answers = () => undefined;
  upstream.requests.length = 0;
  upstream.sent = 0;
}

/** Makes the blobs' organization the mirror of the upstream that has them. */
export async function addMirror(changedAt = 1): Promise<void> {
  const insert = "INSERT INTO organizations (name, created_at) VALUES ('hub', 0)";
  await env.DB_CENTRAL.prepare(insert).run();
  await becomeMirror('hub', { changedAt });
}

/** Checks that a killed fetch, of which `landed` bytes are in parts, goes on by its alarm. */
export async function expectToGoOn(upstream: StubUpstream, blob: MirroredBlob, landed: number): Promise<void> {
  const { byteLength: size } = blob.content;
  expect(await runDurableObjectAlarm(objectOf(blob))).toBe(true);
  expect(sameBytes(await stored(blob), blob.content)).toBe(true);
  expect(upstream.gets().map((each) => each.split(' ')[2])).toEqual([`bytes=${landed}-${size - 1}`]);
  expect(upstream.sent).toBe(size - landed);
  expect(await parts()).toEqual([]);
  expect(await runDurableObjectAlarm(objectOf(blob))).toBe(false);
}

/** Limits the bytes of the blobs' organization. */
export async function setQuota(bytes: number): Promise<void> {
  const insert = "INSERT INTO organizations (name, created_at, quota_bytes) VALUES ('hub', 0, ?1)";
  await env.DB_CENTRAL.prepare(insert).bind(bytes).run();
}

/** Checks that a blob which exceeds the quota is read all the same, fetched once, and not kept. */
export async function expectUnkept(upstream: StubUpstream, blob: MirroredBlob): Promise<void> {
  const [whole, part] = await Promise.all([read(blob), read(blob, { start: 100, end: 4000 })]);
  expect(sameBytes(whole, blob.content)).toBe(true);
  expect(sameBytes(part, blob.content.subarray(100, 4000))).toBe(true);
  expect(upstream.gets()).toHaveLength(1);
  expect(await objectOf(blob).ensure(blob.wanted)).toMatchObject({
    failed: expect.stringContaining('quota') as string,
  });
  await expect(stored(blob)).rejects.toThrow();
  await runDurableObjectAlarm(objectOf(blob));
  await vi.waitFor(async () => expect((await env.BLOBS_CENTRAL.list()).objects).toEqual([]));
}
