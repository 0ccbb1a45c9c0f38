/**
 * The migrations, and the form in which they are sent to D1. D1's query API splits a file into statements, and has
 * failed on comments, on triggers in lower case and on triggers of several lines (docs/schema.md, "Migrations"). So a
 * sent migration has one statement a line. Its statements can run again on what they have created, in case D1 keeps
 * some of a file that fails.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MIGRATIONS = fileURLToPath(new URL('../stores/migrations', import.meta.url));

/** Creates the table in which wrangler records migrations, in the same words as wrangler, on one line. */
export const MIGRATIONS_TABLE =
  'CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, ' +
  'applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL);';

export interface Migration {
  /** The name of its file, such as `0001_berth.sql`. */
  readonly name: string;
  readonly statements: readonly string[];
}

/** Reads the migrations, in their order. */
export async function readMigrations(folder: string = MIGRATIONS): Promise<Migration[]> {
  const { unstable_splitSqlQuery } = await import('wrangler');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).toSorted();
  return Promise.all(
    names.map(async (name) => ({
      name,
      statements: unstable_splitSqlQuery(await readFile(join(folder, name), 'utf8')),
    })),
  );
}

const CREATE = /^CREATE (?:UNIQUE )?(?:TABLE|INDEX|VIEW|TRIGGER) (?!IF NOT EXISTS )/;

/** Returns the text to send to D1. */
export function sentText({ statements }: Migration): string {
  return statements
    .map((statement) => `${statement.replaceAll(/\s*\n\s*/g, ' ').replace(CREATE, '$&IF NOT EXISTS ')};\n`)
    .join('');
}

/** Returns the text to import: the migration, and its record in the table of migrations. */
export function importedText(migration: Migration): string {
  const record = `INSERT INTO d1_migrations (name) VALUES ('${migration.name}');\n`;
  return `${MIGRATIONS_TABLE}\n${sentText(migration)}${record}`;
}
