/**
 * Checks which migrations of the code a database has. `wrangler d1 migrations apply` records each in `d1_migrations`.
 */
import { type Database, sql } from './database.ts';
import { MIGRATIONS } from './migration-names.ts';

const SELECT_APPLIED = sql<{ name: string }>`
  SELECT name FROM d1_migrations WHERE name IN (SELECT value FROM json_each(?1))`;

/** Returns those of {@link MIGRATIONS} that the database lacks. @throws OciError UNAVAILABLE */
export async function missingMigrations(database: Database): Promise<string[]> {
  try {
    const rows = await database.all(SELECT_APPLIED, JSON.stringify(MIGRATIONS));
    const applied = new Set(rows.map(({ name }) => name));
    return MIGRATIONS.filter((name) => !applied.has(name));
  } catch (error) {
    // The first migration to be applied creates the table.
    if (String(error).includes('no such table')) return [...MIGRATIONS];
    throw error;
  }
}
