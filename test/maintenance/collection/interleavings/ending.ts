/**
 * The end of a run. The stores exchange everything, and all images can be pulled. Then everything is deleted, the nodes
 * apply the change log, every waiting time passes, and nothing may be left.
 */
import { isAlive } from '../../../../src/stores/versions.ts';
import { itemAt } from '../../../replication/reads.ts';
import { BINDINGS, TABLES } from '../../../support/bindings.ts';
import { GRACE } from '../../../support/fixture.ts';
import { HOST_NAMES, type HostName } from '../../../support/hosts.ts';
import type { World } from './isolates.ts';
import { MANIFESTS, NODES, type Operation } from './operations.ts';
import type { Run } from './run.ts';

const HOUR = 3_600_000;
const QUARTER = 15 * 60_000;
const TURNS = 100;
/**
 * Pauses that let each kind of waiting end in turn: leases; then objects, which are deleted an hour after their rows,
 * and change log entries; then rows that other stores had to forget first.
 */
const PAUSES = [2 * GRACE + HOUR, GRACE + HOUR, GRACE + HOUR, 2 * GRACE + HOUR, GRACE + HOUR];

/** Tables that may keep rows: control data, clocks, positions, the state of maintenance, and the audit log. */
const KEPT_TABLES = [
  'clock',
  'organizations',
  'credentials',
  'change_log_positions',
  'maintenance_tasks',
  'maintenance_counters',
  'audit*',
  'stored_bytes',
  'usage',
];

export async function end(run: Run, world: World): Promise<void> {
  for (const node of NODES) world.stateOf(node).retry(undefined);
  world.now += QUARTER;
  await run.undisturbed(QUEUES);
  await run.undisturbed(pulls(run));
  await run.undisturbed(deletions(run));
  let left: readonly string[] = [];
  for (const pause of PAUSES) {
    world.now += pause;
    await run.undisturbed([...QUEUES, ...WORK]);
    left = await whatIsLeft(run);
    if (left.length === 0) return;
  }
  throw new Error(`everything was deleted, and there still is\n${left.join('\n')}`);
}

const QUEUES = NODES.flatMap((node): Operation[] => [
  { kind: 'metadata', node, turns: TURNS },
  { kind: 'bytes', node, turns: TURNS },
]);

/** Pulls everything that any host shows. */
function pulls({ seen, content }: Run): Operation[] {
  return HOST_NAMES.flatMap((host) =>
    content.repositories.flatMap((name, repository) =>
      MANIFESTS.filter((manifest) => isAlive(seen.shown(host, name, itemAt(content.manifests, manifest).digest))).map(
        (manifest): Operation => ({ kind: 'pull digest', host, repository, manifest }),
      ),
    ),
  );
}

/** Deletes every repository that a store knows. */
function deletions({ seen, content }: Run): Operation[] {
  return HOST_NAMES.flatMap((host) =>
    content.repositories.flatMap((name, repository): Operation[] =>
      seen.store(host).repositories.has(name) ? [{ kind: 'delete repository', host, repository }] : [],
    ),
  );
}

const WORK: readonly Operation[] = [
  { kind: 'expired uploads' },
  ...NODES.map((node): Operation => ({ kind: 'collect node', node, turns: TURNS })),
  { kind: 'collect central', turns: TURNS, away: null },
  { kind: 'tombstones', turns: TURNS },
  { kind: 'change log' },
];

/**
 * Returns the remaining rows and objects, one a line. An object that a killed isolate wrote and that no row ever named
 * is left to the comparison of objects.
 */
async function whatIsLeft({ writers, seen }: Run): Promise<string[]> {
  const rows = await Promise.all(HOST_NAMES.map(rowsIn));
  const objects = HOST_NAMES.flatMap((name) =>
    [...seen.objects(name)]
      .filter((key) => seen.named.has(key) || writers.get(key)?.isKilled !== true)
      .map((key) => `${name}: object ${key}`),
  );
  return [...rows.flat(), ...objects];
}

let tables: readonly string[] | undefined;

async function rowsIn(name: HostName): Promise<string[]> {
  const [database] = BINDINGS[name];
  if (tables === undefined) {
    const kept = KEPT_TABLES.map((pattern) => `name NOT GLOB '${pattern}'`).join(' AND ');
    const { results } = await database
      .prepare(`SELECT name FROM sqlite_master WHERE ${TABLES} AND ${kept}`)
      .all<{ name: string }>();
    tables = results.map((table) => table.name);
  }
  // The recorded totals of a store must be zero, too.
  const rows = [
    ...tables.map((table) => `${table} WHERE true`),
    'stored_bytes WHERE bytes <> 0',
    'usage WHERE blobs <> 0 OR bytes <> 0 OR uploading <> 0',
  ];
  const contents = await database.batch<object>(rows.map((from) => database.prepare(`SELECT * FROM ${from} LIMIT 5`)));
  return contents.flatMap(({ results }, i) =>
    results.map((row) => `${name}: ${rows[i]?.split(' ')[0]} ${JSON.stringify(row)}`),
  );
}
