/** The memory of a mirror, and its limits. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test } from 'vitest';
import { type KeptManifest, MirrorState } from '../../src/mirror/mirror-state.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { MediaType } from '../../src/oci/media-type.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { bytesOf } from '../support/fixture.ts';
import { stopMirrors } from '../support/mirrors.ts';

const REPOSITORY = 'hub/app' as RepositoryName;

afterEach(stopMirrors);

function withState<Result>(use: (state: MirrorState) => Result): Promise<Result> {
  const mirror = env.ORGANIZATION_MIRROR.get(env.ORGANIZATION_MIRROR.idFromName('state'));
  return runInDurableObject(mirror, (_mirror, { storage }) => use(new MirrorState(storage.sql)));
}

function digest(number: number): Digest {
  return `sha256:${String(number).padStart(64, '0')}` as Digest;
}

function manifestOf(number: number, size: number): KeptManifest {
  return { digest: digest(number), mediaType: 'application/x' as MediaType, size, bytes: bytesOf(number, size) };
}

describe('manifests', () => {
  test.each([1, 999_999, 1_000_000, 1_000_001, 4 * 1024 ** 2])('of %d bytes are kept whole', async (size) => {
    const manifest = manifestOf(1, size);
    const found = await withState((state) => {
      state.keepManifest(REPOSITORY, manifest, 1);
      return state.manifest(REPOSITORY, manifest.digest);
    });
    expect(found).toEqual(manifest);
  });

  test('that are too many push out the oldest', async () => {
    const kept = await withState((state) => {
      for (let i = 0; i < 20; i++) state.keepManifest(REPOSITORY, manifestOf(i, 4 * 1024 ** 2), i);
      return Array.from({ length: 20 }, (_, i) => state.manifest(REPOSITORY, digest(i)) !== undefined);
    });
    expect(kept).toEqual(Array.from({ length: 20 }, (_, i) => i >= 4));
  });

  test('that are forgotten make room', async () => {
    const kept = await withState((state) => {
      for (let i = 0; i < 40; i++) {
        state.keepManifest(REPOSITORY, manifestOf(i, 4 * 1024 ** 2), i);
        if (i > 0) state.forgetManifest(REPOSITORY, digest(i));
      }
      return state.manifest(REPOSITORY, digest(0));
    });
    expect(kept?.size).toBe(4 * 1024 ** 2);
  });
});

describe('tags', () => {
  const tag = (number: number): Tag => `v${number}` as Tag;
  const { bytes: _bytes, ...descriptor } = manifestOf(1, 10);

  test('that are too many push out those that were checked longest ago', async () => {
    const [counts, first, last] = await withState((state) => {
      for (let i = 0; i < 52_000; i++) state.noteTag(REPOSITORY, tag(i), descriptor, i);
      return [state.counts(), state.tag(REPOSITORY, tag(0)), state.tag(REPOSITORY, tag(51_999))];
    });
    expect(counts.tags).toBeLessThanOrEqual(51_000);
    expect(first).toBeUndefined();
    expect(last?.descriptor).toEqual(descriptor);
  });

  test('that the upstream lacks keep their descriptors until these are forgotten', async () => {
    const [before, after] = await withState((state) => {
      state.noteTag(REPOSITORY, tag(1), descriptor, 1);
      state.noteMissing(REPOSITORY, tag(1), 2, 100);
      const missing = state.tag(REPOSITORY, tag(1));
      state.forgetDescriptor(REPOSITORY, tag(1));
      return [missing, state.tag(REPOSITORY, tag(1))];
    });
    expect(before).toEqual({ descriptor, checkedAt: 2, missingUntil: 100 });
    expect(after).toEqual({ descriptor: undefined, checkedAt: 2, missingUntil: 100 });
  });
});

test('images are due in the order of their times', async () => {
  const order = await withState((state) => {
    for (const i of [3, 1, 2]) state.addDue(REPOSITORY, digest(i), i);
    const found: (Digest | undefined)[] = [];
    for (let due = state.nextDue(10); due !== undefined && found.length < 9; due = state.nextDue(10)) {
      found.push(due.digest);
      if (due.attempts === 0 && due.digest === digest(1)) state.putOff(due, 9, 1);
      else state.endDue(due);
    }
    return [...found, state.nextDueAt()];
  });
  expect(order).toEqual([digest(1), digest(2), digest(3), digest(1), undefined]);
});
