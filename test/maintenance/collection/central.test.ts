/** Collection at central: what it removes, and what it must keep. */
import { beforeEach, expect, test } from 'vitest';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import {
  collectBlobs,
  deleteUnreferencedLinks,
  linksAfter,
} from '../../../src/maintenance/collection/collection-rows.ts';
import {
  contextOf,
  expectCollectedAfterLease,
  HOUR,
  locationsOf,
  objectsAt,
  pull,
  pushBlob,
  pushImage,
  putManifest,
  rowsAt,
  stoppedAt,
} from '../../support/collecting.ts';
import {
  bodyOf,
  descriptorOf,
  documentOf,
  GRACE,
  granted,
  imageOf,
  indexOf,
  REPOSITORY,
  session,
  SUBJECT,
} from '../../support/fixture.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';
import { collectCentral } from '../../support/maintenance.ts';

let hosts: Hosts;
const OTHER = 'alice/other' as RepositoryName;

const collect = (): Promise<void> => collectCentral(contextOf(hosts));

beforeEach(async () => {
  hosts = await openHosts();
});

test('a blob is removed with its link and object when its lease ends, and not a moment before', async () => {
  await expectCollectedAfterLease(hosts, 'central', collect);
  expect(await rowsAt('central', 'SELECT * FROM delete_queue')).toEqual([]);
  expect(await objectsAt('central')).toEqual([]);
  expect(await rowsAt('central', "SELECT value FROM maintenance_counters WHERE name = 'collected_bytes'")).toEqual([
    { value: 100 },
  ]);
});

test('a blob that a live manifest references stays until the manifest is deleted', async () => {
  const image = await pushImage(hosts.central, 1, []);
  hosts.now += 3 * GRACE;
  await collect();
  await pull(hosts.central, image.digest);
  await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.now += GRACE;
  await collect();
  expect(await objectsAt('central')).toEqual([]);
});

test('a blob that an index lists as a manifest stays, and a blob that is only a subject is collected', async () => {
  const blob = await pushBlob(hosts.central, 1);
  const subject = await pushBlob(hosts.central, 2);
  await putManifest(hosts.central, await indexOf([blob]));
  const config = await pushBlob(hosts.central, 3);
  await putManifest(hosts.central, await imageOf(config, [], { subject: descriptorOf(subject, 'application/x.test') }));
  hosts.now += 3 * GRACE;
  await collect();
  expect(await locationsOf('central', blob)).toEqual(['central']);
  expect(await locationsOf('central', config)).toEqual(['central']);
  expect(await locationsOf('central', subject)).toEqual([]);
});

test('a blob that a manifest of another media type names stays', async () => {
  const blob = await pushBlob(hosts.central, 1);
  await putManifest(
    hosts.central,
    await documentOf('application/vnd.oci.artifact.manifest.v1+json', {
      artifactType: 'application/x.test',
      blobs: [descriptorOf(blob, 'application/x.test')],
    }),
  );
  hosts.now += 3 * GRACE;
  await collect();
  expect(await locationsOf('central', blob)).toEqual(['central']);
});

test('an unreferenced link is removed even if another repository needs its blob', async () => {
  const image = await pushImage(hosts.central, 1, ['a']);
  for (const digest of image.manifest.requiredBlobs) {
    expect(await hosts.central.registry.mountBlob(OTHER, digest, granted())).toBe(true);
  }
  hosts.now += 2 * GRACE - 1;
  await collect();
  expect(await rowsAt('central', 'SELECT * FROM links WHERE repository = ?1', OTHER)).toHaveLength(2);
  hosts.now += GRACE / 4;
  await collect();
  expect(await rowsAt('central', 'SELECT * FROM links WHERE repository = ?1', OTHER)).toEqual([]);
  await pull(hosts.central, 'a' as Tag);
});

test('a HEAD from a caller who may push promises the blob for the grace time, even at the last moment', async () => {
  const blob = await pushBlob(hosts.central, 1);
  hosts.now += 2 * GRACE - 1;
  await hosts.central.registry.resolveBlob(granted(), blob, true);
  hosts.now += GRACE;
  await collect();
  await putManifest(hosts.central, await imageOf(blob, []), ['a']);
  expect(await objectsAt('central')).toHaveLength(1);
});

test('closing an upload a second time renews the lease', async () => {
  const bytes = new Uint8Array(10);
  const digest = await digestOf('sha256', bytes);
  const opened = await hosts.central.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  await hosts.central.registry.finishUpload(session(opened), digest, undefined, bodyOf(bytes));
  hosts.now += HOUR;
  await hosts.central.registry.finishUpload(session(opened), digest, undefined, bodyOf(bytes));
  const [row] = await rowsAt<{ lease_until: number }>('central', 'SELECT lease_until FROM locations');
  expect(row?.lease_until).toBe(hosts.now + 2 * GRACE);
});

test.each<[string, (blob: Digest) => Promise<unknown>]>([
  ['a manifest', async (blob) => putManifest(hosts.central, await imageOf(blob, []), ['a'])],
  ['a HEAD from a caller who may push', (blob) => hosts.central.registry.resolveBlob(granted(), blob, true)],
  ['an upload', () => pushBlob(hosts.central, 1)],
  ['a mount', (blob) => hosts.central.registry.mountBlob(OTHER, blob, granted())],
])('%s between the look and the removal keeps the blob and its link', async (_name, use) => {
  const blob = await pushBlob(hosts.central, 1);
  hosts.now += 3 * GRACE;
  const { database } = hosts.central.store;
  const links = await linksAfter(database, { digest: '', repository: '' }, 10, hosts.now);
  expect(links).toMatchObject([{ unreferenced: 1 }]);
  await use(blob);
  await database.batch([deleteUnreferencedLinks(links, hosts.now)]);
  await database.batch(collectBlobs('central', [{ digest: blob }], hosts.now));
  expect(await locationsOf('central', blob)).toEqual(['central']);
  expect(await rowsAt('central', 'SELECT * FROM links WHERE repository = ?1', REPOSITORY)).toHaveLength(1);
  expect(await rowsAt('central', 'SELECT * FROM delete_queue')).toEqual([]);
});

test('a node refuses a manifest if its link to a blob has expired, since central may have collected it', async () => {
  const blob = await pushBlob(hosts.central, 1);
  await hosts.node1.registry.resolveBlob(granted(), blob, true);
  hosts.now += 3 * GRACE;
  await collect();
  expect(await objectsAt('central')).toEqual([]);
  await expect(putManifest(hosts.node1, await imageOf(blob, []), ['a'])).rejects.toMatchObject({
    kind: 'MANIFEST_BLOB_UNKNOWN',
  });
});

test('an outbox entry as old as half the grace time stops collection, which reports it', async () => {
  const blob = await pushBlob(hosts.central, 1);
  hosts.now += 3 * GRACE;
  await pushImage(hosts.node1, 10, ['a']);
  hosts.now += GRACE / 2;
  await collect();
  expect(await locationsOf('central', blob)).toEqual(['central']);
  expect(await stoppedAt('central')).toMatch(/^node1 has pushes of .* that central has not heard of/);
  hosts.now -= 1;
  await collect();
  expect(await locationsOf('central', blob)).toEqual([]);
  expect(await stoppedAt('central')).toBeNull();
});

test('a node that does not answer stops collection, which reports it', async () => {
  const blob = await pushBlob(hosts.central, 1);
  hosts.now += 3 * GRACE;
  hosts.node2.gate = async () => {
    throw new Error('D1_ERROR: Network connection lost.');
  };
  await collect();
  expect(await locationsOf('central', blob)).toEqual(['central']);
  expect(await stoppedAt('central')).toMatch(/node2 does not answer/);
});

test('a failure of central’s database stops collection, which reports it once the database answers', async () => {
  const blob = await pushBlob(hosts.central, 1);
  hosts.now += 3 * GRACE;
  let batches = 0;
  hosts.central.gate = async (call, work) => {
    if (call === 'batch' && batches++ === 0) throw new Error('D1_ERROR: Network connection lost.');
    return work();
  };
  await expect(collect()).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
  expect(await stoppedAt('central')).toBe(
    'the database or the bucket of central does not answer: Error: D1_ERROR: Network connection lost.',
  );
  await collect();
  expect(await stoppedAt('central')).toBeNull();
  expect(await locationsOf('central', blob)).toEqual([]);
});

test('a manifest that a node commits in the last moment of its link stays whole at central', async () => {
  const blob = await pushBlob(hosts.central, 1);
  hosts.now += GRACE / 4 + 1;
  await hosts.node1.registry.resolveBlob(granted(), blob, true);
  const [link] = await rowsAt<{ usable_until: number }>('node1', 'SELECT usable_until FROM links');
  hosts.now = (link?.usable_until ?? 0) - 1;
  const image = await imageOf(blob, []);
  await putManifest(hosts.node1, image, ['a']);
  for (let quarter = 0; quarter < 12; quarter++) {
    hosts.now += GRACE / 8;
    await collect();
    expect(await locationsOf('central', blob)).toEqual(['central']);
  }
  await hosts.drain();
  hosts.now += 3 * GRACE;
  await collect();
  await pull(hosts.central, 'a' as Tag);
});

test('if a run is killed between the row and the object, the next run deletes the object', async () => {
  await pushBlob(hosts.central, 1);
  hosts.now += 3 * GRACE;
  hosts.central.gate = async (call, work) => {
    if (call === 'delete') throw new Error('internal error: please try again (10001)');
    return work();
  };
  await expect(collect()).rejects.toThrow('10001');
  expect(await objectsAt('central')).toHaveLength(1);
  expect(await rowsAt('central', 'SELECT * FROM locations')).toEqual([]);
  hosts.central.gate = async (_call, work) => work();
  hosts.now += HOUR;
  await collect();
  expect(await objectsAt('central')).toEqual([]);
  expect(await rowsAt('central', 'SELECT * FROM delete_queue')).toEqual([]);
});
