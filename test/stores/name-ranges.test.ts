/** Lists for a credential that names many repositories: in order, whole, and at the price of a page. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { rangesOf } from '../../src/auth/credential.ts';
import type { Tag } from '../../src/oci/reference.ts';
import { findInRepositories, type ImagePosition, listImages } from '../../src/registry/images/list-rows.ts';
import { Database } from '../../src/stores/database.ts';
import { listRepositories } from '../../src/stores/list-rows.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { countD1, type Counts, noCounts } from '../support/counting.ts';
import { digest } from '../support/adversary.ts';

const LIMIT = 20;
/** Unsorted patterns. Some match one repository, and some match what others match too. */
const RANGES = rangesOf([
  ...Array.from({ length: 28 }, (_, i) => `alice/t${(i * 11) % 28}/*`),
  'alice/t3',
  'alice/t3/r1',
  'alice/none/*',
  'alice/single',
]);
const PATHS = Array.from({ length: 30 }, (_, i) => `alice/t${i}`);
const ALL = [
  ...PATHS.flatMap((path) => Array.from({ length: 30 }, (_, i) => `${path}/r${i}`)),
  ...PATHS,
  'alice/single',
];
const WANTED = ALL.filter((name) => RANGES.some(({ from, to }) => from <= name && name < to)).toSorted();

let counts: Counts;
let database: Database;

beforeEach(async () => {
  const insert = (statement: string) => env.DB_CENTRAL.prepare(statement).bind(JSON.stringify(ALL));
  const image = digest('1', 1);
  await env.DB_CENTRAL.batch([
    insert('INSERT INTO repositories (name, created_at, listed) SELECT value, 0, 1 FROM json_each(?1)'),
    insert(`INSERT INTO tags SELECT value, 'latest', '${image}', 1, 'central', 1, '' FROM json_each(?1)`),
    insert(
      `INSERT INTO manifests (repository, digest, media_type, artifact_type, size, created_version, deleted_version,
        last_pull, image_size, image_kind) SELECT value, '${image}', 'a/b', '', 2, 1, 0, 0, 2, '' FROM json_each(?1)`,
    ),
  ]);
  counts = noCounts();
  database = new Database(countD1(env.DB_CENTRAL, counts));
});

const byName = ({ name }: { readonly name: string }) => name;
const scope = { ranges: RANGES, publicWithin: undefined };
const from = (part: ImagePosition['part'], repository: string): ImagePosition => ({
  part,
  repository,
  key: repository === '' ? '' : '~',
});

test.each<[string, (last: string) => Promise<readonly string[]>]>([
  ['the catalog', (last) => listRepositories(database, RANGES, false, last, LIMIT)],
  [
    'the repositories of an organization',
    async (last) => (await new ControlData(database).repositories(RANGES, last, LIMIT)).map(byName),
  ],
  [
    'images by tag',
    async (last) =>
      (await listImages(database, scope, from('tagged', last), LIMIT, false)).tagged.map(
        ({ repository }) => repository,
      ),
  ],
  [
    'images without a tag',
    async (last) =>
      (await listImages(database, scope, from('untagged', last), LIMIT, true)).untagged.map(
        ({ repository }) => repository,
      ),
  ],
  [
    'images of a name',
    async (last) =>
      (await findInRepositories(database, scope, { kind: 'tag', tag: 'latest' as Tag }, last, LIMIT)).images.map(
        ({ repository }) => repository,
      ),
  ],
])('%s: each name once and in order, and a page reads no more rows for many patterns', async (_, page) => {
  const found: string[] = [];
  let most = 0;
  for (let last = ''; ;) {
    counts.rowsRead = 0;
    const names = await page(last);
    most = Math.max(most, counts.rowsRead);
    if (names.length === 0) break;
    found.push(...names);
    last = names.at(-1) ?? '';
  }
  expect(found).toEqual(WANTED);
  expect(most).toBeLessThan(16 * (LIMIT + 1) + 3 * RANGES.length);
});
