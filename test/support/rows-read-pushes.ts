/** Pushes, uploads and pulls in a store that {@link fillAsAdversary} has filled. */
import { env } from 'cloudflare:workers';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import type { Database } from '../../src/stores/database.ts';
import { findManifest } from '../../src/stores/manifests/manifest-rows.ts';
import { MIN_PART_BYTES } from '../../src/stores/bucket.ts';
import { MAX_CHUNKS } from '../../src/stores/uploads/chunk-limit.ts';
import { finishEmpty, insertMultipart } from '../../src/stores/uploads/upload-rows.ts';
import {
  BIG,
  COMMON,
  COMMON_BYTES,
  digest,
  LAYER,
  NOW,
  SUBJECT_OF_MANY,
  TAG,
  TAGGED,
  TOP,
  UNNEEDED,
} from './adversary.ts';
import {
  bodyOf,
  bytesOf,
  type Fixture,
  contentDigest,
  granted,
  imageOf,
  ofLength,
  indexOf,
  pushBlob,
  pushImage,
  session,
  SUBJECT,
} from './fixture.ts';
import { type Operation, refused } from './rows-read.ts';

const SMALL = 'mallory/small' as RepositoryName;
const tag = (name: string) => name as Tag;

/** A manifest of many layers. */
const LAYERED = digest('7', 1);

/** Returns the operations by name, in the order in which they must run. */
export function pushesAndPulls(fixture: Fixture, database: Database): [string, Operation][] {
  const { registry } = fixture;
  const layer = LAYER;
  const byTag = (name: string) => ({ kind: 'tag', tag: tag(name) }) as const;
  const byDigest = (of: Digest) => ({ kind: 'digest', digest: of }) as const;
  const large = Array.from({ length: 4000 }, (_, i) => digest('c', i));
  const closed = { at: '' };
  return [
    ['push a blob that many have', () => pushBlob(fixture, COMMON_BYTES, BIG)],
    ['push that blob again', () => pushBlob(fixture, COMMON_BYTES, BIG)],
    ['HEAD of that blob', () => registry.resolveBlob(granted(BIG), COMMON, true)],
    ['GET of that blob', () => registry.getBlob(granted(BIG), COMMON)],
    [
      'a session of chunks',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await registry.uploadProgress(session(one, BIG));
        const two = await registry.appendChunk(session(one, BIG), undefined, bodyOf(layer));
        const both = Uint8Array.from([...layer, ...layer]);
        await registry.finishUpload(session(two, BIG), await contentDigest(both), undefined, undefined);
        await registry.finishUpload(session(two, BIG), await contentDigest(both), undefined, undefined);
      },
    ],
    [
      'a session of parts',
      async () => {
        const [open, part] = [await registry.openUpload(BIG, SUBJECT, 'sha256'), bytesOf(701, MIN_PART_BYTES)];
        const one = await registry.appendChunk(session(open, BIG), 0, bodyOf(part));
        await registry.finishUpload(session(one, BIG), await contentDigest(part), undefined, undefined);
      },
    ],
    [
      'a session of one chunk',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await registry.finishUpload(session(one, BIG), await contentDigest(layer), undefined, undefined);
        closed.at = one.reference;
      },
    ],
    [
      'the same bytes in another session, whose object is lost',
      async () => {
        await env.DB_CENTRAL.prepare("UPDATE locations SET key = 'blobs/lost' WHERE digest = ?1")
          .bind(await contentDigest(layer))
          .run();
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await registry.finishUpload(session(one, BIG), await contentDigest(layer), undefined, undefined);
      },
    ],
    [
      'a session that is cancelled',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        await registry.cancelUpload(
          session(await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer)), BIG),
        );
      },
    ],
    [
      'a session whose multipart upload a whole blob replaces',
      async () => {
        const upload = { id: crypto.randomUUID(), repository: BIG, expiresAt: NOW };
        await database.batch([
          insertMultipart(upload, 'a', { key: 'blobs/begun', uploadId: 'begun', size: layer.byteLength }, 1_000_000),
          finishEmpty(upload, 'b', { size: layer.byteLength, digest: await contentDigest(layer), now: NOW }),
        ]);
      },
    ],
    [
      'a session of the most chunks',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await env.DB_CENTRAL.prepare(
          `WITH RECURSIVE n (i) AS (SELECT -1 UNION ALL SELECT i - 1 FROM n WHERE i > - ${MAX_CHUNKS})
          INSERT INTO upload_chunks (upload, start, size, key) SELECT u.id, i, 0, 'blobs/many' FROM (
            SELECT id FROM uploads WHERE repository = '${BIG}' AND state = 'open' AND size = ${layer.byteLength}
            LIMIT 1) AS u CROSS JOIN n`,
        ).run();
        await registry.appendChunk(session(one, BIG), undefined, bodyOf(layer)).catch(refused);
        await registry.finishUpload(session(one, BIG), COMMON, undefined, undefined).catch(refused);
        await registry.cancelUpload(session(one, BIG));
      },
    ],
    ['mount from a repository', () => registry.mountBlob(SMALL, COMMON, granted('mallory/00001' as RepositoryName))],
    [
      'mount from anywhere',
      () =>
        registry.mountBlob('bob/x' as RepositoryName, COMMON, {
          ranges: [{ from: 'bob/', to: 'bob0' }],
          withPublic: true,
        }),
    ],
    [
      'mount of a blob that only others have',
      () => registry.mountBlob('bob/x' as RepositoryName, UNNEEDED, { ranges: [], withPublic: true }),
    ],
    [
      'mount of a blob that nobody has',
      () => registry.mountBlob('bob/x' as RepositoryName, digest('9', 9), { ranges: [], withPublic: true }),
    ],
    [
      'push an image',
      async () => pushImage(fixture, await imageOf(COMMON, [await contentDigest(layer)]), [TAG, 'new'], BIG),
    ],
    ['push a large index', async () => pushImage(fixture, await indexOf(large), ['large'], BIG)],
    [
      'push an index of a large one',
      async () => pushImage(fixture, await indexOf([ofLength(TOP, 600_000), COMMON]), ['top'], BIG),
    ],
    [
      'push a referrer',
      async () =>
        pushImage(
          fixture,
          await imageOf(COMMON, [], { subject: { mediaType: 'a/b', digest: SUBJECT_OF_MANY, size: 1 } }),
          [],
          BIG,
        ),
    ],
    [
      'push a tag too many for one manifest',
      async () => pushImage(fixture, { ...(await imageOf(COMMON, [])), digest: TAGGED }, ['more'], BIG).catch(refused),
    ],
    [
      'a manifest whose blobs are not there',
      () =>
        imageOf(digest('9', 1), [digest('9', 2)])
          .then((image) => pushImage(fixture, image, [], BIG))
          .catch(refused),
    ],
    ['GET by tag', () => registry.getManifest(granted(BIG), byTag(TAG))],
    ['GET of a large index', () => registry.getManifest(granted(BIG), byTag('large'))],
    [
      "the keys of an image's blobs",
      async () => {
        await findManifest(database, BIG, byTag('new'), 'content', { store: 'central' });
        await env.DB_CENTRAL.prepare(
          `INSERT INTO manifests (repository, digest, media_type, artifact_type, size, created_version, deleted_version,
             last_pull, descriptors)
           SELECT '${BIG}', '${LAYERED}', 'm', '', 600000, 1000, 0, 0,
             json_group_array(json_object('kind', 'layer', 'digest', value, 'size', 50)) FROM json_each(?1)`,
        )
          .bind(JSON.stringify(large))
          .run();
        await findManifest(database, BIG, byDigest(LAYERED), 'content', { store: 'central' });
      },
    ],
    ['GET by digest', () => registry.getManifest(granted(BIG), byDigest(TAGGED))],
    ['HEAD by tag', () => registry.resolveManifest(granted(BIG), byTag('a00000')).catch(refused)],
    ['HEAD by digest', () => registry.resolveManifest(granted(BIG), byDigest(digest('0', 3))).catch(refused)],
    ['work after responses', () => fixture.settled()],
  ];
}
