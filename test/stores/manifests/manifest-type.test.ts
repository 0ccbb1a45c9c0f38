/** The SQL of media types agrees with `manifest-type.ts` in all small cases. Each case has its own repository. */
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { type MediaType, OCI_IMAGE_INDEX } from '../../../src/oci/media-type.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import { DEFAULT_LIMITS } from '../../../src/stores/organizations/limits.ts';
import { Database } from '../../../src/stores/database.ts';
import { commitManifest } from '../../../src/stores/manifests/manifest-commit.ts';
import {
  claimsAfterPush,
  mergeClaims,
  NO_CLAIMS,
  type TypeClaims,
  typeOf,
} from '../../../src/stores/manifests/manifest-type.ts';
import { type ManifestLifecycle, type ManifestRecord, mergeRows } from '../../../src/stores/merge.ts';
import { type ManifestVersions, mergeManifests, NO_MANIFEST } from '../../../src/stores/versions.ts';
import { documentOf, first, type Image, indexOf, rowsOf } from '../../support/fixture.ts';

const database = new Database(env.DB_CENTRAL);
const OTHER = 'application/vnd.example+json' as MediaType;
const MORE = 'application/vnd.example.more+json' as MediaType;
/** Its document states no media type, so the same bytes can be pushed under several types. */
const IMAGE = await indexOf([], { mediaType: undefined });

type Row = ManifestVersions & TypeClaims;

function pushedAs(known: Row, version: number, mediaType: MediaType): Row {
  return {
    ...known,
    created: version,
    ...claimsAfterPush(known, version, { mediaType, artifactType: `of ${mediaType}` }),
  };
}

const NOTHING: Row = { ...NO_MANIFEST, ...NO_CLAIMS };

/** The rows that stores can have: up to two pushes of three types, before and after a deletion. */
const ROWS: readonly Row[] = [OCI_IMAGE_INDEX, OTHER, MORE].flatMap((type) =>
  [1, 3].flatMap((version) => {
    const pushed = pushedAs(NOTHING, version, type);
    const deleted = { ...pushed, deleted: 2 };
    return [
      pushed,
      deleted,
      pushedAs(pushed, 4, OTHER),
      pushedAs(deleted, 4, OCI_IMAGE_INDEX),
      pushedAs(deleted, 5, MORE),
    ];
  }),
);

function recordOf(repository: RepositoryName, row: Row): ManifestRecord {
  const type = typeOf(row, row.deleted) ?? { mediaType: OTHER, artifactType: '' };
  return {
    ...row,
    ...type,
    repository,
    digest: IMAGE.digest,
    subject: null,
    size: 2,
    descriptors: [],
    contents: ['{}'],
  };
}

interface Stored extends Row {
  readonly mediaType: MediaType;
  readonly artifactType: string;
}

async function storedIn(): Promise<Map<RepositoryName, Stored>> {
  const rows = await rowsOf<Stored & { repository: RepositoryName }>(
    `SELECT repository, created_version AS created, deleted_version AS deleted, typed,
      typed_otherwise AS typedOtherwise,
      media_type AS mediaType, artifact_type AS artifactType FROM manifests`,
  );
  return new Map(rows.map(({ repository, ...row }) => [repository, row]));
}

function mergedOf(rows: readonly Row[]): Stored {
  const row = rows.reduce((a, b) => ({ ...mergeManifests(a, b), ...mergeClaims(a, b) }));
  const type = typeOf(row, row.deleted);
  if (type === undefined) throw new Error('every row must have a claim');
  return { ...row, ...type };
}

describe('merging rows', () => {
  const cases = ROWS.flatMap((a, i) =>
    ROWS.map((b, j) => ({ repository: `alice/r${i}x${j}` as RepositoryName, a, b })),
  );
  const expected = new Map(cases.map(({ repository, a, b }) => [repository, mergedOf([a, b])]));

  test('one after the other, with content, decides the media type by the rule', async () => {
    for (const side of ['a', 'b'] as const) {
      const manifests = cases.map((each) => recordOf(each.repository, each[side]));
      await database.batch(mergeRows({ tags: [], lifecycles: [], manifests, blobs: [] }, 1));
    }
    expect(await storedIn()).toEqual(expected);
  });

  test('decides the media type too when the second row has no content, as in the reply to an announcement', async () => {
    const manifests = cases.map(({ repository, a }) => recordOf(repository, a));
    const lifecycles: ManifestLifecycle[] = cases.map(({ repository, b }) =>
      Object.assign({ repository, digest: IMAGE.digest }, b),
    );
    await database.batch(mergeRows({ tags: [], lifecycles: [], manifests, blobs: [] }, 1));
    await database.batch(mergeRows({ tags: [], lifecycles, manifests: [], blobs: [] }, 1));
    expect(await storedIn()).toEqual(expected);
  });

  test('is a join: the order and repetition of three rows change nothing', () => {
    const some = ROWS.filter((_, i) => i % 2 === 0);
    for (const a of some) {
      for (const b of some) {
        expect(mergedOf([a, b, a])).toEqual(mergedOf([b, a]));
        for (const c of some) expect(mergedOf([mergedOf([a, b]), c])).toEqual(mergedOf([a, mergedOf([c, b])]));
      }
    }
  });
});

test.each([OCI_IMAGE_INDEX, OTHER])('a push under %s sets claims and media type by the rule', async (mediaType) => {
  const pushed: Image = await documentOf(mediaType, {
    mediaType: undefined,
    manifests: [],
    artifactType: `of ${mediaType}`,
  });
  for (const [i, row] of [NOTHING, ...ROWS].entries()) {
    const repository = `alice/p${i}` as RepositoryName;
    const manifests = row === NOTHING ? [] : [{ ...recordOf(repository, row), digest: pushed.digest }];
    await database.batch(mergeRows({ tags: [], lifecycles: [], manifests, blobs: [] }, 1));
    const context = { origin: 'central', announces: false, now: 1, limits: DEFAULT_LIMITS };
    const { manifest, digest } = pushed;
    const { version = 0 } = await commitManifest(database, context, {
      repository,
      digest,
      manifest,
      size: 2,
      tags: [],
    });
    const { created: _created, ...found } = (await storedIn()).get(repository) ?? first([]);
    const { created: _, ...due } = mergedOf([pushedAs(row, version, mediaType)]);
    expect(found).toEqual(due);
  }
});
