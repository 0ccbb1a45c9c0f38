/** The cost of each step of a push and a pull: the counts that docs/architecture.md states. */
import { beforeEach, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import type { Tag } from '../../src/oci/reference.ts';
import { PART_BYTES } from '../../src/stores/uploads/buffer-budget.ts';
import { resetCounts } from '../support/counting.ts';
import {
  bodyOf,
  bytesOf,
  type Fixture,
  granted,
  openFixture,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  session,
  SUBJECT,
  first,
} from '../support/fixture.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await openFixture();
  resetCounts(fixture.counts);
});

test.each([
  ['fits one part', 5000, 1],
  ['fills one part', PART_BYTES, 1],
  ['takes three parts', 2 * PART_BYTES + 5, 3 + 2],
])('POST, PATCH and PUT of a layer that %s cost 2 D1 round trips', async (_name, size, classA) => {
  const content = bytesOf(1, size);
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  const progress = await fixture.registry.appendChunk(session(open), undefined, bodyOf(content, 'unknown'));
  await fixture.registry.finishUpload(session(progress), await digestOf('sha256', content), undefined, undefined);
  expect(fixture.counts).toMatchObject({ classA, classB: 1, r2Deletes: 0, d1: 2 });
});

test('POST and PUT of a layer cost 1 D1 round trip', async () => {
  const content = bytesOf(1, 5000);
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  await fixture.registry.finishUpload(session(open), await digestOf('sha256', content), undefined, bodyOf(content));
  expect(fixture.counts).toMatchObject({ classA: 1, classB: 1, r2Deletes: 0, d1: 1 });
});

test('PUT, GET and HEAD of a manifest, and GET and HEAD of a blob, cost 1 D1 round trip each', async () => {
  const image = await pushSmallImage(fixture, 1, []);
  const counted = async (work: () => Promise<unknown>): Promise<object> => {
    resetCounts(fixture.counts);
    await work();
    await fixture.settled();
    return { ...fixture.counts, rowsRead: 0, rowsWritten: 0 };
  };
  const cost = (d1: number, classB = 0): object => ({
    classA: 0,
    classB,
    r2Deletes: 0,
    d1,
    rowsRead: 0,
    rowsWritten: 0,
  });
  const latest = { kind: 'tag', tag: 'latest' as Tag } as const;
  const blob = first(image.manifest.requiredBlobs);
  expect(await counted(() => pushImage(fixture, image, ['latest']))).toEqual(cost(1));
  // The first pull of an hour is also recorded, after the response.
  await fixture.registry.getManifest(granted(), latest);
  await fixture.settled();
  expect(await counted(() => fixture.registry.getManifest(granted(), latest))).toEqual(cost(1));
  expect(await counted(() => fixture.registry.resolveManifest(granted(), latest))).toEqual(cost(1));
  expect(await counted(async () => (await fixture.registry.getBlob(granted(), blob)).open())).toEqual(cost(1, 1));
  expect(await counted(() => fixture.registry.resolveBlob(granted(), blob, true))).toEqual(cost(1));
});
