/**
 * Migrates a database of the account. `d1 migrations apply` goes first, by D1's query API. If that fails, each missing
 * file is imported together with its record, by an API that does not split it. Every step begins by asking D1 what is
 * recorded, so it can be run again after any failure.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importedText, type Migration, MIGRATIONS_TABLE, readMigrations, sentText } from './migrations.ts';
import { type Operator, shown } from './operator.ts';
import { type Database, type Production, Refusal } from './wrangler-toml.ts';

/** @param folder where wrangler runs @throws Refusal if a migration is missing afterwards */
export async function migrateRemotely(
  operator: Operator,
  { account }: Pick<Production, 'account'>,
  { binding, database_name, database_id }: Database,
  folder: string,
): Promise<void> {
  const migrations = await readMigrations();
  const work = mkdtempSync(join(tmpdir(), 'berth-migrations-'));
  const config = join(work, 'wrangler.json');
  const database = { binding, database_name, database_id, migrations_dir: 'migrations' };
  writeFileSync(config, JSON.stringify({ name: 'berth', account_id: account, d1_databases: [database] }));
  mkdirSync(join(work, 'migrations'));
  for (const migration of migrations) writeFileSync(join(work, 'migrations', migration.name), sentText(migration));

  const d1 = (...args: string[]): string[] => ['wrangler', 'd1', ...args, '--remote', '--config', config];
  const missing = (): Migration[] => {
    const recorded = recordedNames(operator, d1('execute', binding, '--json', '--command', RECORDED), binding, folder);
    return migrations.filter(({ name }) => !recorded.has(name));
  };
  try {
    if (missing().length === 0) return operator.print(`${binding} has all migrations.`);
    if (run(operator, d1('migrations', 'apply', binding), folder)) {
      const names = missing().map(({ name }) => name);
      if (names.length === 0) return;
      throw new Refusal(`\n${binding} lacks ${names.join(', ')}, because the migration was not confirmed.`);
    }
    operator.print(`\nD1 did not take the migrations of ${binding} as a query. They are imported now.`);
    for (const migration of missing()) {
      const file = join(work, migration.name);
      writeFileSync(file, importedText(migration));
      if (!run(operator, d1('execute', binding, '--yes', '--file', file), folder))
        throw new Refusal(`\n${migration.name} could not be imported into ${binding}. Run \`npm run deploy\` again.`);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const RECORDED = `${MIGRATIONS_TABLE}\nSELECT name FROM d1_migrations ORDER BY id;`;

/** Returns the names of the migrations that D1 has recorded. @throws Refusal */
function recordedNames(operator: Operator, command: string[], binding: string, folder: string): Set<string> {
  const { status, stdout } = operator.run(command, folder, true);
  if (status === 0) {
    try {
      const answers = JSON.parse(stdout.slice(stdout.indexOf('['))) as { results: { name: string }[] }[];
      return new Set(answers.at(-1)?.results.map(({ name }) => name));
    } catch {
      // The refusal below shows what wrangler printed.
    }
  }
  throw new Refusal(
    `${stdout}\nD1 does not say which migrations ${binding} has. Nothing is deployed. Run \`npm run deploy\` again.`,
  );
}

function run(operator: Operator, command: readonly string[], folder: string): boolean {
  operator.print(`\n> ${shown(command)}`);
  return operator.run(command, folder).status === 0;
}
