/** Images of mirrors that nobody pulls are deleted, if their mirror says so. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { DAY } from '../../src/durations.ts';
import { goRound } from '../../src/maintenance/round.ts';
import { unpulledImages } from '../../src/maintenance/unpulled-images.ts';
import type { Tag } from '../../src/oci/reference.ts';
import { setMirror } from '../../src/stores/organizations/mirrors.ts';
import { openStore, type Store } from '../../src/stores/store.ts';
import { addUsers } from '../support/client.ts';
import {
  type Fixture,
  type Image,
  indexOf,
  openFixture,
  pushSmallImage,
  REPOSITORY,
  rowsOf,
} from '../support/fixture.ts';
import { openRun } from '../support/maintenance.ts';
import { mirror } from '../support/mirrors.ts';

const central = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);
const node = openStore('node1', env.DB_NODE1!, env.BLOBS_NODE1!);

let fixture: Fixture;
let start: number;

beforeEach(async () => {
  await addUsers();
  fixture = await openFixture();
  start = fixture.now;
});

function becomeMirror(expires: number): Promise<unknown> {
  return setMirror(central.database, mirror('alice', { expires }));
}

/** Pushes an image as a mirror of Docker Hub stores it. */
async function storedByMirror(seed: number, tags: readonly string[], from = 'hub'): Promise<Image> {
  const image = await pushSmallImage(fixture, seed, []);
  const by = { subject: 'mirror', name: from, host: '' };
  await fixture.registry.putManifest(
    REPOSITORY,
    image.digest,
    image.manifest,
    image.bytes.byteLength,
    tags as Tag[],
    by,
  );
  return image;
}

/** Runs a round after some days. */
function round(days: number, nodes: readonly Store[] = []): Promise<void> {
  return goRound(openRun({ central, nodes, now: () => start + days * DAY }), unpulledImages, central);
}

async function alive(): Promise<string[]> {
  const rows = await rowsOf<{ digest: string }>(
    'SELECT digest FROM manifests WHERE created_version > deleted_version ORDER BY digest',
  );
  return rows.map(({ digest }) => digest);
}

function atNode(sql: string, ...values: (string | number)[]): Promise<unknown> {
  return env
    .DB_NODE1!.prepare(sql)
    .bind(...values)
    .run();
}

/** Gives the node a row of the image, as if it had been copied down and pulled there. */
async function pulledAtNode({ digest }: Image, at: number): Promise<void> {
  await atNode(
    `INSERT INTO manifests (repository, digest, media_type, artifact_type, size, created_version, deleted_version,
      last_pull) VALUES (?1, ?2, '', '', 1, 1, 0, ?3)`,
    REPOSITORY,
    digest,
    at,
  );
}

test('an image that nobody has pulled for long is deleted, with its tags', async () => {
  await becomeMirror(30 * DAY);
  const image = await storedByMirror(1, ['v1']);
  await round(29);
  expect(await alive()).toEqual([image.digest]);
  await round(31);
  expect(await alive()).toEqual([]);
});

test('an image that was pulled since stays', async () => {
  await becomeMirror(30 * DAY);
  const image = await storedByMirror(1, ['v1']);
  fixture.now = start + 20 * DAY;
  await fixture.registry.getManifest(
    { repository: REPOSITORY, condition: 'granted' },
    { kind: 'digest', digest: image.digest },
  );
  await fixture.settled();
  await round(31);
  expect(await alive()).toEqual([image.digest]);
  await round(51);
  expect(await alive()).toEqual([]);
});

test.each([
  ['that was pulled from a node', (image: Image) => pulledAtNode(image, start + 20 * DAY)],
  [
    'whose repository has a pin at a node',
    () => atNode('INSERT INTO pins (repository, reference, created_at) VALUES (?1, ?2, 0)', REPOSITORY, 'v1'),
  ],
])('an image %s stays', async (_, prepare) => {
  await becomeMirror(30 * DAY);
  const image = await storedByMirror(1, ['v1']);
  await prepare(image);
  await round(31, [node]);
  expect(await alive()).toEqual([image.digest]);
});

test('nothing is deleted while a node does not answer', async () => {
  await becomeMirror(30 * DAY);
  const image = await storedByMirror(1, ['v1']);
  await env.DB_NODE1!.prepare('ALTER TABLE pins RENAME TO pins_away').run();
  try {
    await round(31, [node]).catch(() => undefined);
    expect(await alive()).toEqual([image.digest]);
  } finally {
    await env.DB_NODE1!.prepare('ALTER TABLE pins_away RENAME TO pins').run();
  }
});

test('what an index lists goes with it, unless it has a tag of its own', async () => {
  await becomeMirror(30 * DAY);
  const [untagged, tagged] = [await pushSmallImage(fixture, 1, []), await pushSmallImage(fixture, 3, ['own'])];
  const index = await indexOf([untagged.digest, tagged.digest]);
  const by = { subject: 'mirror', name: 'hub', host: '' };
  const size = index.bytes.byteLength;
  await fixture.registry.putManifest(REPOSITORY, index.digest, index.manifest, size, ['v1'] as Tag[], by);
  await round(31);
  expect(await alive()).toEqual([tagged.digest]);
});

test.each([
  ['that a client has pushed', () => pushSmallImage(fixture, 1, ['v1'])],
  ['without a tag', () => pushSmallImage(fixture, 1, [])],
  ['of another upstream', () => storedByMirror(1, ['v1'], 'ghcr')],
])('an image %s stays', async (_, push) => {
  await becomeMirror(30 * DAY);
  const image = await push();
  await round(4000);
  expect(await alive()).toEqual([image.digest]);
});

test('an image of a repository that the mirror does not cover stays', async () => {
  await setMirror(central.database, mirror('alice', { expires: DAY, repositories: ['library/*'] }));
  const image = await storedByMirror(1, ['v1']);
  await round(4000);
  expect(await alive()).toEqual([image.digest]);
});

test.each([
  ['an ordinary organization', async () => undefined],
  ['a mirror without a limit', () => becomeMirror(Infinity)],
])('images of %s stay', async (_, prepare) => {
  await prepare();
  const image = await storedByMirror(1, ['v1']);
  await round(4000);
  expect(await alive()).toEqual([image.digest]);
});

test('a round goes through many images in slices', async () => {
  await becomeMirror(30 * DAY);
  for (let i = 0; i < 25; i++) await storedByMirror(10 * i, [`v${i}`]);
  await round(31);
  expect(await alive()).toEqual([]);
});
