/** Which of the pushes of a tag are forwarded. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, expect, test } from 'vitest';
import { OutgoingState } from '../../src/mirror/outgoing-state.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { MediaType } from '../../src/oci/media-type.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { stopMirrors } from '../support/mirrors.ts';

const REPOSITORY = 'alice/app' as RepositoryName;
const [FIRST, SECOND] = ['sha256:1', 'sha256:2'] as [Digest, Digest];
const LATE = 10_000_000;

afterEach(stopMirrors);

function withState<Result>(use: (state: OutgoingState) => Result): Promise<Result> {
  const mirror = env.ORGANIZATION_MIRROR.get(env.ORGANIZATION_MIRROR.idFromName('state'));
  return runInDurableObject(mirror, (_mirror, { storage }) => use(new OutgoingState(storage.sql)));
}

function note(state: OutgoingState, digest: Digest, tags: readonly string[]): number {
  const manifest = { digest, mediaType: 'application/x' as MediaType, size: 1 };
  return state.note(REPOSITORY, manifest, tags as Tag[], 0)?.[0] ?? 0;
}

test('a push that is confirmed after a later one has settled is forgotten', async () => {
  const left = await withState((state) => {
    const [first, second] = [note(state, FIRST, ['v1']), note(state, SECOND, ['v1'])];
    state.confirm(second, 2, 0);
    state.settle({ id: second });
    expect(state.confirm(first, 1, 0)).toMatchObject({ tag: 'v1', manifest: { digest: FIRST } });
    return state.next(LATE);
  });
  expect(left).toBeUndefined();
});

test('a push that is committed after a deletion is forwarded, one before it is not', async () => {
  const waiting = await withState((state) => {
    const id = note(state, FIRST, ['v1']);
    state.pass(id, 5);
    state.confirm(id, 5, 0);
    const isLeft = state.isWanted({ id });
    const later = note(state, FIRST, ['v1']);
    state.pass(later, 5);
    state.confirm(later, 6, 0);
    return [isLeft, state.next(LATE)?.stage];
  });
  expect(waiting).toEqual([false, 'pending']);
});

test('pushes without a tag replace only those of the same image', async () => {
  const counts = await withState((state) => {
    const ids = [note(state, FIRST, []), note(state, SECOND, []), note(state, FIRST, [])];
    for (const [i, id] of ids.entries()) state.confirm(id, i + 1, 0);
    return state.counts();
  });
  expect(counts).toMatchObject({ pending: 2, parked: 0 });
});

test('a tag is held from the note of a push until it settles', async () => {
  const held = await withState((state) => {
    const has = (): boolean => state.has(REPOSITORY, 'v1' as Tag);
    const id = note(state, FIRST, ['v1']);
    const isNoted = [has(), state.pushed(REPOSITORY, 'v1' as Tag)];
    state.confirm(id, 1, 0);
    state.announce({ id }, 0);
    const isAnnounced = [has(), state.pushed(REPOSITORY, 'v1' as Tag)?.digest];
    state.settle({ id });
    return [isNoted, isAnnounced, has()];
  });
  expect(held).toEqual([[true, undefined], [true, FIRST], false]);
});
