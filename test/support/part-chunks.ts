/** Sessions whose chunks become parts of one multipart upload. */
import type { UploadProgress } from '../../src/registry/registry.ts';
import { type Algorithm, type Digest, digestOf } from '../../src/oci/digest.ts';
import { MIN_PART_BYTES } from '../../src/stores/bucket.ts';
import { expect } from 'vitest';
import {
  bodyOf,
  bytesIn,
  bytesOf as randomBytes,
  type Fixture,
  granted,
  session,
  unreferencedObjects,
} from './fixture.ts';

/** The smallest size of a part, in bytes. */
export const PART = MIN_PART_BYTES;

/** Returns random bytes that repeat after a while, because it would take long to make all of them. */
export function bytesOf(seed: number, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const some = randomBytes(seed, Math.min(size, 65_537));
  for (let at = 0; at < size; at += some.byteLength) bytes.set(some.subarray(0, size - at), at);
  return bytes;
}

/** Cuts content into chunks of the given sizes. */
export function cut(content: Uint8Array<ArrayBuffer>, sizes: readonly number[]): Uint8Array<ArrayBuffer>[] {
  let end = 0;
  return sizes.map((size) => content.slice(end, (end += size)));
}

export function patch(
  { registry }: Fixture,
  at: UploadProgress,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<UploadProgress> {
  return registry.appendChunk(session(at), at.size, bodyOf(bytes));
}

/** Sends a closing PUT. @param rest the last chunk, if the PUT brings it */
export function close(
  { registry }: Fixture,
  at: UploadProgress,
  digest: Digest,
  rest?: Uint8Array<ArrayBuffer>,
): Promise<void> {
  return registry.finishUpload(session(at), digest, rest === undefined ? undefined : at.size, rest && bodyOf(rest));
}

export async function pushAll(
  fixture: Fixture,
  from: UploadProgress,
  chunks: readonly Uint8Array<ArrayBuffer>[],
): Promise<UploadProgress> {
  let progress = from;
  for (const chunk of chunks) progress = await patch(fixture, progress, chunk);
  return progress;
}

/** Expects a blob of this content, and no object that nothing refers to. */
export async function expectStored(
  fixture: Fixture,
  content: Uint8Array<ArrayBuffer>,
  algorithm: Algorithm = 'sha256',
): Promise<void> {
  const blob = await fixture.registry.getBlob(granted(), await digestOf(algorithm, content));
  const read = await bytesIn(await blob.open());
  expect(await digestOf('sha256', new Uint8Array(read))).toBe(await digestOf('sha256', content));
  await fixture.settled();
  expect(await unreferencedObjects()).toEqual([]);
}
