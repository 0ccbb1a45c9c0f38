/** The console's pages in a registry with very many repositories and tags, compared with one that has few. */
import { imageOf, randomBlob } from '../client.ts';
import { insert } from '../fill.ts';
import { call } from '../http.ts';
import { timed } from '../measure.ts';
import { compare, outcome, type Row } from '../row.ts';
import type { CountedBerth, Surroundings } from '../surroundings.ts';

const NODES = 20;
const TAGS_PER_REPOSITORY = 10;
const [SMALL, LARGE] = [100, 10_000];
const TINY = { repositories: 300, nodes: 3 };
/** Days and repositories of an organization's charts. */
const [DAYS, NAMED] = [90, 50];
const DAY = 24 * 3_600_000;
const REQUESTS = 8;
const ROUNDS = 9;
const LIMIT = 1.5;
const APP = 'alice/app';

interface Filled extends CountedBerth {
  readonly repositories: number;
  /** Opens a page as a user. */
  readonly open: (user: string, path: string) => Promise<void>;
}

const filled = new WeakMap<Surroundings, Promise<{ readonly small: Filled; readonly large: Filled }>>();

function bothSizes(surroundings: Surroundings): Promise<{ readonly small: Filled; readonly large: Filled }> {
  const known = filled.get(surroundings);
  if (known !== undefined) return known;
  const { tiny } = surroundings;
  const nodes = tiny ? TINY.nodes : NODES;
  const fresh = (async () => ({
    small: await fill(await surroundings.startCounted({ nodes }), SMALL),
    large: await fill(await surroundings.startCounted({ nodes }), tiny ? TINY.repositories : LARGE),
  }))();
  filled.set(surroundings, fresh);
  return fresh;
}

async function fill(berth: CountedBerth, repositories: number): Promise<Filled> {
  const { control } = berth;
  for (const client of Object.values(berth.clients(APP))) {
    await client.logIn();
    const [config, layer] = [randomBlob(300), randomBlob(5000)];
    for (const blob of [config, layer]) await client.pushByPut(blob.bytes, blob.digest);
    await client.pushManifest(imageOf(config, [layer]), 'latest');
  }
  const repository = "printf('alice/r%05d', i)";
  const digest = "'sha256:' || printf('%064x', i)";
  const rows: readonly (readonly [count: number, into: string, select: string])[] = [
    [repositories, 'repositories (name, created_at, listed)', `SELECT ${repository}, 0, 1 FROM n`],
    [
      repositories,
      `manifests (repository, digest, media_type, artifact_type, size, created_version, deleted_version, last_pull,
        descriptors)`,
      `SELECT ${repository}, ${digest}, 'application/vnd.oci.image.manifest.v1+json', '', 2, 1, 0, 0, '[]' FROM n`,
    ],
    [repositories, 'manifest_contents', `SELECT ${repository}, ${digest}, 0, '{}' FROM n`],
    [
      repositories * TAGS_PER_REPOSITORY,
      'tags',
      `SELECT printf('alice/r%05d', i / ${TAGS_PER_REPOSITORY}), 'v' || (i % ${TAGS_PER_REPOSITORY}),
        'sha256:' || printf('%064x', i / ${TAGS_PER_REPOSITORY}), 1, 'central', 1, '' FROM n`,
    ],
    [repositories, 'organizations (name, created_at)', "SELECT printf('org%05d', i), 0 FROM n"],
    [
      repositories,
      'audit (at, action, organization, repository, key, subject, name, host)',
      `SELECT i, 'delete tag', 'alice', ${repository}, 'v', 'alice', 'alice', 'localhost' FROM n`,
    ],
  ];
  // The most figures that the charts of an organization can have.
  const today = Math.floor(Date.now() / DAY);
  const noted = `SELECT ${today} - i, 'alice', ${Date.now()}, i * 1000000 FROM n`;
  await insert(control, 'central', DAYS, 'usage_by_day (day, organization, noted_at, used) ', `${noted} WHERE i > 0`);
  const largest = Array.from({ length: NAMED }, (_, i) => {
    return { name: `alice/r${String(i).padStart(5, '0')}`, bytes: 2000 * i, unshared: 500 * i, share: 1000 * i };
  });
  const measured = { organization: 'alice', count: repositories, bytes: 1e9, largest };
  await control.sql(
    'central',
    `INSERT OR REPLACE INTO largest_repositories VALUES ('alice', ${Date.now()}, '${JSON.stringify(measured)}')`,
  );
  for (const [count, into, select] of rows) await insert(control, 'central', count, into, select);
  await control.settled();
  const cookies = new Map<string, Promise<string>>();
  return {
    ...berth,
    repositories,
    open: async (user, path) => {
      const cookie = cookies.get(user) ?? signIn(berth.consolePort, user);
      cookies.set(user, cookie);
      await call(200, {
        port: berth.consolePort,
        method: 'GET',
        path,
        headers: { ...at(berth), Cookie: await cookie },
      });
    },
  };
}

const at = ({ consolePort }: Pick<CountedBerth, 'consolePort'>): Record<string, string> => ({
  Host: `console.localhost:${consolePort}`,
});

/** Returns the cookie of a new session. */
async function signIn(consolePort: number, user: string): Promise<string> {
  const { Host = '' } = at({ consolePort });
  const { headers } = await call(303, {
    port: consolePort,
    method: 'POST',
    path: '/sign-in',
    headers: { Host, Origin: `http://${Host}`, 'Content-Type': 'application/x-www-form-urlencoded' },
    body: Buffer.from(new URLSearchParams({ user, secret: `${user}-dev`, to: '/' }).toString()),
  });
  return headers['set-cookie']?.[0]?.split(';')[0] ?? '';
}

const PAGES: readonly (readonly [user: string, path: string])[] = [
  ['admin', '/'],
  ['admin', '/organizations'],
  ['admin', '/organizations/alice'],
  ['admin', '/organizations/alice/repositories'],
  ['admin', '/replication'],
  ['admin', '/replication/node1'],
  ['admin', '/storage'],
  ['admin', '/audit'],
  ['alice', '/images'],
  ['alice', '/images?sort=pushed'],
  ['alice', `/images/${APP}`],
  ['alice', `/images/${APP}/-/untagged`],
  ['alice', `/images/${APP}:latest`],
  ['alice', `/images/${APP}:latest/history`],
];

function row([user, path]: (typeof PAGES)[number]): Row {
  return {
    name: `console: ${path}, with 10,000 repositories against 100, and 20 nodes`,
    mustReach: `≤ ${LIMIT} ×, rows too`,
    boundBy: 'pages of lists, and looks at each node side by side',
    run: async (surroundings) => {
      const { small, large } = await bothSizes(surroundings);
      const count = async (registry: Filled) => {
        await registry.open(user, path);
        return registry.control.countsOf(() => registry.open(user, path));
      };
      const time = (registry: Filled) => (): Promise<number> =>
        timed(async () => {
          for (let i = 0; i < REQUESTS; i++) await registry.open(user, path);
        });
      const [few, many] = [await count(small), await count(large)];
      const compared = await compare({
        limit: LIMIT,
        rounds: surroundings.tiny ? 3 : ROUNDS,
        ours: time(large),
        theirs: time(small),
      });
      const counts = ({ rowsRead, roundTrips, rowsWritten }: typeof few): string =>
        `${rowsRead} rows read and ${rowsWritten} written in ${roundTrips} round trips`;
      return outcome(
        `${compared.measured}, ${many.rowsRead} and ${few.rowsRead} rows`,
        [
          ...(compared.reached ? [] : [`more than ${LIMIT} ×`]),
          ...(many.rowsRead <= LIMIT * few.rowsRead ? [] : ['more rows are read']),
          ...(many.roundTrips <= few.roundTrips ? [] : ['more round trips']),
        ],
        `${REQUESTS} requests: ${compared.details}; ${counts(many)}, against ${counts(few)}`,
        { ...compared.figures, counts: { few, many } },
      );
    },
  };
}

export const consolePages: readonly Row[] = PAGES.map(row);
