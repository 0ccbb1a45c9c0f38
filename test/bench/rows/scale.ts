/** Reads of a repository with a million tags, compared with one with a thousand, each in its own database. */
import { type Client, imageOf, randomBlob } from '../client.ts';
import { insert } from '../fill.ts';
import { timed } from '../measure.ts';
import { compare, outcome, type Row } from '../row.ts';
import type { CountedBerth, Surroundings } from '../surroundings.ts';

const SMALL = { tags: 1000, referrers: 1000 };
const LARGE = { tags: 1_000_000, referrers: 100_000 };
const TINY = { tags: 5000, referrers: 2000 };
const REQUESTS = 50;
const ROUNDS = 15;
const LIMIT = 1.5;

interface Filled extends CountedBerth {
  readonly client: Client;
  readonly subject: string;
}

const filled = new WeakMap<Surroundings, Promise<{ readonly small: Filled; readonly large: Filled }>>();

function bothSizes(surroundings: Surroundings): Promise<{ readonly small: Filled; readonly large: Filled }> {
  const known = filled.get(surroundings);
  if (known !== undefined) return known;
  const fresh = (async () => ({
    small: await fill(await surroundings.startCounted(), SMALL),
    large: await fill(await surroundings.startCounted(), surroundings.tiny ? TINY : LARGE),
  }))();
  filled.set(surroundings, fresh);
  return fresh;
}

async function fill(berth: CountedBerth, { tags, referrers }: typeof SMALL): Promise<Filled> {
  const repository = 'alice/scale';
  const client = berth.clients(repository).central;
  await client.logIn();
  const config = randomBlob(300);
  await client.pushByPut(config.bytes, config.digest);
  const image = imageOf(config);
  await client.pushManifest(image, 'latest');
  await client.request(200, 'GET', 'manifests/latest');
  const { control } = berth;
  await insert(
    control,
    'central',
    tags,
    'tags',
    `SELECT '${repository}', printf('v%07d', i), '${image.digest}', 1, 'central', 1, '' FROM n`,
  );
  const digest = "'sha256:' || printf('%064x', i)";
  await insert(
    control,
    'central',
    referrers,
    'manifest_contents',
    `SELECT '${repository}', ${digest}, 0, '{"annotations":{"number":"' || i || '"}}' FROM n`,
  );
  await insert(
    control,
    'central',
    referrers,
    `manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version,
      last_pull)`,
    `SELECT '${repository}', ${digest}, 'application/vnd.oci.image.manifest.v1+json', 'application/other',
      '${image.digest}', 40, 1, 0, 0 FROM n`,
  );
  return { ...berth, client, subject: image.digest };
}

function row(name: string, path: (repository: Filled) => string, boundBy: string): Row {
  return {
    name: `scale: ${name}, 1,000,000 tags and 100,000 referrers against 1,000`,
    mustReach: `≤ ${LIMIT} ×, rows equal`,
    boundBy,
    run: async (surroundings) => {
      const { small, large } = await bothSizes(surroundings);
      const read = async (repository: Filled) => {
        await repository.client.logIn();
        return (await repository.control.countsOf(() => repository.client.request(200, 'GET', path(repository))))
          .rowsRead;
      };
      const time = async (repository: Filled) => {
        await repository.client.logIn();
        return timed(async () => {
          for (let i = 0; i < REQUESTS; i++) await repository.client.request(200, 'GET', path(repository));
        });
      };
      const rows = { small: await read(small), large: await read(large) };
      const compared = await compare({
        limit: LIMIT,
        rounds: ROUNDS,
        ours: () => time(large),
        theirs: () => time(small),
      });
      return outcome(
        `${compared.measured}, ${rows.large} and ${rows.small} rows`,
        [
          ...(rows.large === rows.small ? [] : ['the rows read differ']),
          ...(compared.reached ? [] : [`more than ${LIMIT} ×`]),
        ],
        `${REQUESTS} requests: ${compared.details}`,
        { ...compared.figures, rows },
      );
    },
  };
}

export const scale: readonly Row[] = [
  row('a tag resolved', () => 'manifests/latest', 'look-ups of single rows by primary key'),
  row('a page of 100 tags', () => 'tags/list?n=100&last=v0000500', 'one range of the index of visible tags'),
  row('a page of 100 referrers', ({ subject }) => `referrers/${subject}`, 'one range of the index of referrers'),
];
