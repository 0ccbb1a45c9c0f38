/** Images of mirrors that nobody pulls are deleted, if their mirror says so. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { DAY } from '../../src/durations.ts';
import { goRound } from '../../src/maintenance/round.ts';
import { unpulledImages } from '../../src/maintenance/unpulled-images.ts';
import { setMirror } from '../../src/stores/organizations/mirrors.ts';
import { openStore, type Store } from '../../src/stores/store.ts';
import { addUsers } from '../support/client.ts';
import {
  type Fixture,
  type Image,
  indexOf,
  openFixture,
  pushImage,
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

function becomeMirror(expires: number): Promise<boolean> {
  return setMirror(central.database, mirror('alice', { expires }));
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
  const image = await pushSmallImage(fixture, 1, ['v1']);
  await round(29);
  expect(await alive()).toEqual([image.digest]);
  await round(31);
  expect(await alive()).toEqual([]);
});

test('an image that was pulled since stays', async () => {
  await becomeMirror(30 * DAY);
  const image = await pushSmallImage(fixture, 1, ['v1']);
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
  const image = await pushSmallImage(fixture, 1, ['v1']);
  await prepare(image);
  await round(31, [node]);
  expect(await alive()).toEqual([image.digest]);
});

test('nothing is deleted while a node does not answer', async () => {
  await becomeMirror(30 * DAY);
  const image = await pushSmallImage(fixture, 1, ['v1']);
  await env.DB_NODE1!.prepare('ALTER TABLE pins RENAME TO pins_away').run();
  try {
    await round(31, [node]).catch(() => undefined);
    expect(await alive()).toEqual([image.digest]);
  } finally {
    await env.DB_NODE1!.prepare('ALTER TABLE pins_away RENAME TO pins').run();
  }
});

test('what an index lists goes after the index', async () => {
  await becomeMirror(30 * DAY);
  const image = await pushSmallImage(fixture, 1, ['v1']);
  const index = await indexOf([image.digest]);
  await pushImage(fixture, index);
  await round(31);
  expect(await alive()).toEqual([image.digest]);
  await round(31.1);
  expect(await alive()).toEqual([]);
});

test.each([
  ['an ordinary organization', async () => undefined],
  ['a mirror without a limit', () => becomeMirror(Infinity)],
])('images of %s stay', async (_, prepare) => {
  await prepare();
  const image = await pushSmallImage(fixture, 1, ['v1']);
  await round(4000);
  expect(await alive()).toEqual([image.digest]);
});

test('a round goes through many images in slices', async () => {
  await becomeMirror(30 * DAY);
  for (let i = 0; i < 25; i++) await pushSmallImage(fixture, 10 * i, [`v${i}`]);
  await round(31);
  expect(await alive()).toEqual([]);
});
