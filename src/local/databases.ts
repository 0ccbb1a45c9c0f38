/**
 * Migrates the databases of a local run before anything listens on its ports, so that a client which retries during the
 * start finds a closed port and never half a schema.
 */
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { addDevelopmentUsers } from './development-users.ts';
import type { LogFile } from './log-file.ts';
import { MIGRATIONS_TABLE, readMigrations } from './migrations.ts';

const WORKER = 'databases';

export interface DatabasesOptions {
  readonly stateDir: string;
  /** The databases, by their bindings in wrangler.toml. */
  readonly databases: Readonly<Record<string, string>>;
  /** Whether to add the users of `development-users.ts` to each. */
  readonly developmentUsers: boolean;
  readonly log: LogFile;
}

/** Creates and migrates the databases, and adds the development users. */
export async function prepareDatabases({
  stateDir,
  databases,
  developmentUsers,
  log,
}: DatabasesOptions): Promise<void> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: '127.0.0.1',
      port: 0,
      cf: false,
      resourcePersistencePath: stateDir,
      handleStructuredLogs: log.write,
      workers: [
        {
          name: WORKER,
          modules: [{ type: 'ESModule', path: 'index.js', contents: 'export default {};' }],
          d1Databases: { ...databases },
        },
      ],
    }),
  );
  try {
    const prepared = Object.keys(databases).map(async (binding) => {
      const database = await miniflare.getD1Database(binding, WORKER);
      await migrate(database);
      if (developmentUsers) await addDevelopmentUsers(database);
    });
    await Promise.all(prepared);
  } finally {
    await miniflare.dispose();
  }
}

type LocalDatabase = Awaited<ReturnType<Miniflare['getD1Database']>>;

/** Applies the migrations that wrangler's `d1 migrations apply` would, and records them in the same table. */
async function migrate(database: LocalDatabase): Promise<void> {
  await database.prepare(MIGRATIONS_TABLE).run();
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>();
  const applied = new Set(results.map(({ name }) => name));
  for (const { name, statements } of await readMigrations()) {
    if (applied.has(name)) continue;
    const record = database.prepare('INSERT INTO d1_migrations (name) VALUES (?1)').bind(name);
    await database.batch([...statements.map((statement) => database.prepare(statement)), record]);
  }
}
