/** The calls of an upload to R2 and D1 before its answer do not reveal whether another tenant has the blob. */
import { beforeEach, expect, test } from 'vitest';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import { resetCounts } from '../../support/counting.ts';
import { bodyOf, bytesOf, type Fixture, openFixture, session, SUBJECT } from '../../support/fixture.ts';

const MALLORY = 'mallory/app' as RepositoryName;
const BOB = 'bob/app' as RepositoryName;

type Upload = (
  fixture: Fixture,
  repository: RepositoryName,
  bytes: Uint8Array<ArrayBuffer>,
  digest: Digest,
) => Promise<void>;

const WAYS: readonly (readonly [name: string, upload: Upload])[] = [
  [
    'POST with the digest',
    ({ registry }, repository, bytes, digest) => registry.putBlob(repository, digest, bodyOf(bytes)),
  ],
  [
    'POST and PUT',
    async ({ registry }, repository, bytes, digest) => {
      const open = await registry.openUpload(repository, SUBJECT, 'sha256');
      await registry.finishUpload(session(open, repository), digest, undefined, bodyOf(bytes));
    },
  ],
  [
    'POST, PATCH and PUT',
    async ({ registry }, repository, bytes, digest) => {
      const open = await registry.openUpload(repository, SUBJECT, 'sha256');
      const progress = await registry.appendChunk(session(open, repository), undefined, bodyOf(bytes));
      await registry.finishUpload(session(progress, repository), digest, undefined, undefined);
    },
  ],
  [
    'several chunks',
    async ({ registry }, repository, bytes, digest) => {
      const open = await registry.openUpload(repository, SUBJECT, 'sha256');
      const one = await registry.appendChunk(session(open, repository), undefined, bodyOf(bytes.slice(0, 10)));
      const two = await registry.appendChunk(session(one, repository), undefined, bodyOf(bytes.slice(10)));
      await registry.finishUpload(session(two, repository), digest, undefined, undefined);
    },
  ],
  [
    'a chunk that was hashed with another algorithm',
    async ({ registry }, repository, bytes, digest) => {
      const open = await registry.openUpload(repository, SUBJECT, 'sha512');
      const progress = await registry.appendChunk(session(open, repository), undefined, bodyOf(bytes));
      await registry.finishUpload(session(progress, repository), digest, undefined, undefined);
    },
  ],
];

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});

test.each(WAYS)(
  '%s calls the stores equally for a new blob and for one that another tenant has',
  async (_name, upload) => {
    const [known, unknown] = [bytesOf(1, 50), bytesOf(2, 50)];
    const [knownDigest, unknownDigest] = [await digestOf('sha256', known), await digestOf('sha256', unknown)];
    await fixture.registry.putBlob(BOB, knownDigest, bodyOf(known));
    const counted = async (bytes: Uint8Array<ArrayBuffer>, digest: Digest): Promise<object> => {
      await fixture.settled();
      resetCounts(fixture.counts);
      await upload(fixture, MALLORY, bytes, digest);
      // Unneeded objects are deleted after the answer.
      const { classA, classB, d1 } = fixture.counts;
      return { classA, classB, d1 };
    };
    expect(await counted(unknown, unknownDigest)).toEqual(await counted(known, knownDigest));
  },
);
