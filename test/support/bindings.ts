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

let tables: readonly string[] | undefined;

/** Empties every store. The schema stays, and the clock is set to 0. */
export async function clearStores(): Promise<void> {
  if (tables === undefined) {
    const { results } = await env.DB_CENTRAL.prepare(`SELECT name FROM sqlite_master WHERE ${TABLES}`).all<{
      name: string;
    }>();
    tables = results.map(({ name }) => name);
  }
  const names = tables.filter((name) => name !== 'clock');
  await Promise.all(
    Object.values(BINDINGS).map(async ([database, bucket]) => {
      await database.batch([
        ...names.map((name) => database.prepare(`DELETE FROM ${name}`)),
        database.prepare("UPDATE clock SET version = 0, commit_id = ''"),
      ]);
      for (;;) {
        const { objects } = await bucket.list();
        if (objects.length === 0) break;
        await bucket.delete(objects.map(({ key }) => key));
      }
    }),
  );
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
