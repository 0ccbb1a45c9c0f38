/**
 * The SQL of merging and of versions agrees with `versions.ts` in all small cases. Each case has its own repository.
 */
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { MediaType } from '../../src/oci/media-type.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import { VERSIONS_PER_MILLISECOND } from '../../src/stores/clock.ts';
import { type BoundStatement, Database } from '../../src/stores/database.ts';
import { deleteManifest, deleteTag } from '../../src/stores/deletion/deletions.ts';
import { commitManifest } from '../../src/stores/manifests/manifest-commit.ts';
import { NO_CLAIMS } from '../../src/stores/manifests/manifest-type.ts';
import { type ManifestLifecycle, type ManifestRecord, mergeRows, type TagRow } from '../../src/stores/merge.ts';
import {
  type AuthoredTag,
  isAlive,
  isVisible,
  type ManifestVersions,
  mergeManifests,
  mergeTags,
  nextVersion,
  NO_MANIFEST,
} from '../../src/stores/versions.ts';
import { imageOf, rowsOf } from '../support/fixture.ts';
import { sampled } from '../support/sample.ts';

const M = `sha256:${'a'.repeat(64)}` as Digest;
const N = `sha256:${'b'.repeat(64)}` as Digest;
const NAME = 'latest' as Tag;
const NOW = 1;
const CASES_PER_BATCH = 400;

const database = new Database(env.DB_CENTRAL);

/** A deletion may be noted twice, by maintenance and by somebody. */
const TAGS: readonly (AuthoredTag | undefined)[] = [
  undefined,
  ...[1, 2, 3].flatMap((version) =>
    ['central', 'node1'].flatMap((origin) => [
      { digest: M, version, origin, author: `pusher at ${origin}` },
      { digest: N, version, origin, author: `pusher at ${origin}` },
      { digest: null, version, origin, author: '' },
      { digest: null, version, origin, author: 'alice' },
    ]),
  ),
];
/** `created` is 0 for a manifest whose content the store does not have. */
const LIFECYCLES: readonly ManifestVersions[] = [0, 1, 2, 3].flatMap((created) =>
  [0, 1, 2, 3].map((deleted) => ({ created, deleted })),
);

interface Case {
  readonly repository: RepositoryName;
  readonly tags: readonly (AuthoredTag | undefined)[];
  /** Lifecycles of M, merged one after the other; whole ones bring the content. */
  readonly lifecycles: readonly (ManifestVersions & { readonly whole: boolean })[];
}

function tagRow(repository: RepositoryName, tag: AuthoredTag): TagRow {
  return { ...tag, repository, name: NAME };
}

function whole(lifecycle: ManifestLifecycle): ManifestRecord {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json' as MediaType;
  return {
    ...NO_CLAIMS,
    ...lifecycle,
    mediaType,
    artifactType: '',
    subject: null,
    size: 2,
    descriptors: [],
    contents: ['{}'],
  };
}

/** Runs the cases' steps in order. Each step is one `mergeRows` of many repositories at once. */
async function run(cases: readonly Case[]): Promise<void> {
  for (let start = 0; start < cases.length; start += CASES_PER_BATCH) {
    const some = cases.slice(start, start + CASES_PER_BATCH);
    const steps = Math.max(...some.map(({ tags, lifecycles }) => Math.max(tags.length, lifecycles.length)));
    const statements: BoundStatement[] = [];
    for (let step = 0; step < steps; step++) {
      const tags = some.flatMap(({ repository, tags: all }) => {
        const tag = all[step];
        return tag === undefined ? [] : [tagRow(repository, tag)];
      });
      const lifecycles = some.flatMap(({ repository, lifecycles: all }) => {
        const lifecycle = all[step];
        return lifecycle === undefined ? [] : [{ ...lifecycle, repository, digest: M }];
      });
      const manifests = lifecycles
        .filter((lifecycle) => lifecycle.whole && lifecycle.created > 0)
        .map((lifecycle) => whole(lifecycle));
      statements.push(
        ...mergeRows(
          { tags, lifecycles: lifecycles.filter((lifecycle) => !lifecycle.whole), manifests, blobs: [] },
          NOW,
        ),
      );
    }
    await database.batch(statements);
  }
}

interface Merged {
  readonly repository: RepositoryName;
  readonly tag: AuthoredTag | undefined;
  readonly visible: boolean;
  readonly lifecycle: ManifestVersions;
  readonly listed: boolean;
  readonly history: readonly string[];
}

function nameOf({ version, origin, digest, author }: AuthoredTag): string {
  return `${version} ${origin} ${digest === null ? 'deleted' : `${digest.slice(7, 8)} by ${author}`}`;
}

/** Returns what the store made of the cases. */
async function merged(cases: readonly Case[]): Promise<Merged[]> {
  const tags = await rowsOf<TagRow & { visible: number }>(
    'SELECT repository, digest, version, origin, author, visible FROM tags',
  );
  const lifecycles = await rowsOf<{ repository: RepositoryName } & ManifestVersions>(
    `SELECT repository, created_version AS created, deleted_version AS deleted FROM manifests WHERE digest = '${M}'`,
  );
  const listed = await rowsOf<{ name: RepositoryName }>('SELECT name FROM repositories WHERE listed = 1');
  const history = await rowsOf<TagRow>('SELECT repository, digest, version, origin, author FROM tag_history');
  const tagOf = new Map(tags.map((tag) => [tag.repository, tag]));
  const lifecycleOf = new Map(lifecycles.map((lifecycle) => [lifecycle.repository, lifecycle]));
  const isListed = new Set(listed.map(({ name }) => name));
  const historyOf = Map.groupBy(history, ({ repository }) => repository);
  return cases.map(({ repository }) => {
    const tag = tagOf.get(repository);
    const lifecycle = lifecycleOf.get(repository);
    return {
      repository,
      tag:
        tag === undefined
          ? undefined
          : { digest: tag.digest, version: tag.version, origin: tag.origin, author: tag.author },
      visible: tag?.visible === 1,
      lifecycle: lifecycle === undefined ? NO_MANIFEST : { created: lifecycle.created, deleted: lifecycle.deleted },
      listed: isListed.has(repository),
      history: (historyOf.get(repository) ?? []).map(nameOf).toSorted(),
    };
  });
}

/** Returns what `versions.ts` makes of them. */
function expected({ repository, tags, lifecycles }: Case): Merged {
  const writes = tags.filter((tag) => tag !== undefined);
  const winner = writes.reduce<AuthoredTag | undefined>((best, tag) => mergeTags(best, tag), undefined);
  const lifecycle = lifecycles.reduce<ManifestVersions>(
    (known, come) =>
      mergeManifests(known, come.whole || known.created > 0 ? come : { created: 0, deleted: come.deleted }),
    NO_MANIFEST,
  );
  const lost = writes.filter((tag) => winner !== undefined && nameOf(tag) !== nameOf(winner));
  return {
    repository,
    tag: winner,
    visible: isVisible(winner, winner?.digest === M ? lifecycle : NO_MANIFEST),
    lifecycle,
    listed: isAlive(lifecycle),
    history: [...new Set(lost.map(nameOf))].toSorted(),
  };
}

/**
 * Returns whether the writes can exist: a store uses each version once, so two writes of one version and origin are the
 * same write.
 */
function isPossible(tags: readonly (AuthoredTag | undefined)[]): boolean {
  const writes = tags.filter((tag) => tag !== undefined);
  return writes.every((a) =>
    writes.every((b) => a.version !== b.version || a.origin !== b.origin || a.digest === b.digest),
  );
}

async function check(cases: readonly Case[]): Promise<void> {
  await run(cases);
  expect(await merged(cases)).toEqual(cases.map((one) => expected(one)));
}

function repositoryOf(i: number): RepositoryName {
  return `a/r${i}` as RepositoryName;
}

describe('mergeRows agrees with versions.ts', () => {
  test('on two writes of a tag in either order, including the history', async () => {
    const pairs = TAGS.flatMap((a) => TAGS.map((b) => [a, b])).filter((tags) => isPossible(tags));
    expect(pairs.length).toBeGreaterThan(300);
    const alive = { created: 1, deleted: 0, whole: true };
    await check(pairs.map((tags, i) => ({ repository: repositoryOf(i), tags, lifecycles: [alive] })));
  });

  test('on which of two equal versions wins, whatever the digests', async () => {
    const equal = TAGS.filter((tag) => tag?.version === 2);
    const pairs = equal.flatMap((a) => equal.map((b) => [a, b]));
    const cases = pairs.map((tags, i) => ({ repository: repositoryOf(i), tags, lifecycles: [] }));
    await run(cases);
    const rows = await merged(cases);
    expect(rows.map(({ tag }) => tag)).toEqual(cases.map((one) => expected(one).tag));
  });

  test.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])('on two lifecycles of a manifest: the first with content %s, the second %s', async (first, second) => {
    const pairs = LIFECYCLES.flatMap((a) =>
      LIFECYCLES.map(
        (b) =>
          [
            { ...a, whole: first },
            { ...b, whole: second },
          ] as const,
      ),
    );
    // A manifest comes with its content only if it was created.
    const possible = pairs.filter((lifecycles) =>
      lifecycles.every((lifecycle) => !lifecycle.whole || lifecycle.created > 0),
    );
    await check(possible.map((lifecycles, i) => ({ repository: repositoryOf(i), tags: [], lifecycles })));
  });

  test('on what is visible and listed: a tag and a later lifecycle of its manifest, in either order', async () => {
    const cases: Case[] = [];
    for (const tag of TAGS) {
      for (const a of LIFECYCLES.filter(({ created }) => created > 0)) {
        for (const b of LIFECYCLES) {
          const lifecycles = [
            { ...a, whole: true },
            { ...b, whole: false },
          ];
          for (const tags of [[tag], [undefined, tag], [undefined, undefined, tag]]) {
            cases.push({ repository: repositoryOf(cases.length), tags, lifecycles });
          }
        }
      }
    }
    expect(cases.length).toBeGreaterThan(5000);
    await check(sampled(cases));
  });

  test('on three writes of a tag in every order', async () => {
    const some = TAGS.filter((tag) => tag !== undefined && tag.version < 3);
    const triples = some
      .flatMap((a) => some.flatMap((b) => some.map((c) => [a, b, c])))
      .filter((tags) => isPossible(tags));
    await check(triples.map((tags, i) => ({ repository: repositoryOf(i), tags, lifecycles: [] })));
  });
});

describe('versions agree with nextVersion', () => {
  const WALL_CLOCKS = [0, 1, 2];
  const CLOCKS = [0, 999, 1000, 1001, 1999, 2000, 5000];
  const SEEN = [undefined, 0, 999, 1000, 2000, 7000];
  const repository = repositoryOf(0);

  async function setClock(version: number): Promise<void> {
    await env.DB_CENTRAL.prepare('UPDATE clock SET version = ?1').bind(version).run();
  }

  async function clock(): Promise<number> {
    return (await rowsOf<{ version: number }>('SELECT version FROM clock'))[0]?.version ?? -1;
  }

  test('for pushes', async () => {
    const { digest, manifest } = await imageOf(M, []);
    for (const now of WALL_CLOCKS) {
      for (const before of CLOCKS) {
        await setClock(before);
        const context = { origin: 'node1', announces: true, now, limits: DEFAULT_LIMITS };
        // No blob is required, so none is missing.
        const commit = { repository, digest, manifest: { ...manifest, requiredBlobs: [] }, size: 2, tags: [NAME] };
        expect(await commitManifest(database, context, commit)).toEqual({ version: expect.any(Number) });
        const version = nextVersion(now * VERSIONS_PER_MILLISECOND, before);
        expect(await clock()).toBe(version);
        expect(await rowsOf('SELECT version FROM tags')).toEqual([{ version: version }]);
        expect(await rowsOf('SELECT created_version FROM manifests')).toEqual([{ created_version: version }]);
        expect(await rowsOf('SELECT version FROM outbox')).toEqual([{ version }]);
      }
    }
  });

  test('for deletions, after versions that were seen elsewhere', async () => {
    for (const now of WALL_CLOCKS) {
      for (const before of CLOCKS) {
        for (const seen of sampled(SEEN)) {
          const context = { origin: 'central', announces: false, now };
          const versions = seen === undefined ? undefined : { versions: seen };
          for (const remove of [
            () => deleteTag(database, context, repository, NAME, versions),
            () => deleteManifest(database, context, repository, M, versions),
          ]) {
            await setClock(before);
            // If nothing was seen elsewhere, there is nothing to delete, and no version is used.
            const version = seen === undefined ? undefined : nextVersion(now * VERSIONS_PER_MILLISECOND, before, seen);
            expect(await remove()).toBe(version);
            expect(await clock()).toBe(version ?? before);
          }
          await env.DB_CENTRAL.batch(
            ['tags', 'manifests'].map((table) => env.DB_CENTRAL.prepare(`DELETE FROM ${table}`)),
          );
        }
      }
    }
  });
});
