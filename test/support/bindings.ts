/** The stores of the test environment, by name. */
import { env } from 'cloudflare:workers';

export const BINDINGS = {
  central: [env.DB_CENTRAL, env.BLOBS_CENTRAL],
  node1: [env.DB_NODE1!, env.BLOBS_NODE1!],
  node2: [env.DB_NODE2!, env.BLOBS_NODE2!],
} as const satisfies Record<string, readonly [D1Database, R2Bucket]>;

/** SQL that selects the registry's tables: all except D1's, SQLite's, and copies that a test keeps as `saved_…`. */
export const TABLES =
  "type = 'table' AND name NOT GLOB '_cf*' AND name NOT GLOB 'd1_*' AND name NOT GLOB 'sqlite_*' " +
  "AND name NOT GLOB 'saved_*'";

/** The tables that a store may have rows in, and a query for the names of those that have some. */
interface Tables {
  readonly names: readonly string[];
  readonly filled: string;
}

let tables: Tables | undefined;

async function findTables(): Promise<Tables> {
  const { results } = await env.DB_CENTRAL.prepare(`SELECT name FROM sqlite_master WHERE ${TABLES}`).all<{
    name: string;
  }>();
  const names = results.map(({ name }) => name);
  const rows = (name: string) => (name === 'clock' ? "clock WHERE version <> 0 OR commit_id <> ''" : name);
  return {
    names,
    filled: `SELECT ${names.map((name) => `EXISTS (SELECT 1 FROM ${rows(name)}) AS ${name}`).join(', ')}`,
  };
}

/** Empties every store. The schema stays, and the clock is set to 0. Most stores are empty, and are only looked at. */
export async function clearStores(): Promise<void> {
  tables ??= await findTables();
  const { names, filled } = tables;
  await Promise.all(
    Object.values(BINDINGS).flatMap(([database, bucket]) => [
      clearDatabase(database, names, database.prepare(filled)),
      clearBucket(bucket),
    ]),
  );
}

async function clearDatabase(
  database: D1Database,
  names: readonly string[],
  filled: D1PreparedStatement,
): Promise<void> {
  let last = await filled.first<Record<string, number>>();
  // A trigger may fill a table again.
  while (names.some((name) => last?.[name] === 1)) {
    const clear = names
      .filter((name) => last?.[name] === 1)
      .map((name) => (name === 'clock' ? "UPDATE clock SET version = 0, commit_id = ''" : `DELETE FROM ${name}`));
    const results = await database.batch<Record<string, number>>([
      ...clear.map((statement) => database.prepare(statement)),
      filled,
    ]);
    last = results.at(-1)?.results[0] ?? null;
  }
}

async function clearBucket(bucket: R2Bucket): Promise<void> {
  for (;;) {
    const { objects } = await bucket.list();
    if (objects.length === 0) break;
    await bucket.delete(objects.map(({ key }) => key));
  }
}

/** Drops copies of tables that an earlier test file has kept. */
export async function dropSavedTables(): Promise<void> {
  await Promise.all(
    Object.values(BINDINGS).map(async ([database]) => {
      const saved = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'saved_*'";
      const { results } = await database.prepare(saved).all<{ name: string }>();
      if (results.length > 0) await database.batch(results.map(({ name }) => database.prepare(`DROP TABLE ${name}`)));
    }),
  );
}
