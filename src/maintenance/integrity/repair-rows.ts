/**
 * The progress of repairs that can take more than one run of maintenance: of copies that replace damaged objects, by
 * digest, and of hashing objects that may hold a blob's bytes, by key.
 */
import { type Database, sql } from '../../stores/database.ts';

const SELECT_PROGRESS = sql`SELECT progress FROM repairs WHERE name = ?1`;
const SAVE_PROGRESS = sql`
  INSERT INTO repairs (name, progress) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE
    SET progress = excluded.progress`;
const FORGET_PROGRESS = sql`DELETE FROM repairs WHERE name = ?1`;

export async function repairProgress(database: Database, name: string): Promise<string | undefined> {
  return (await database.first<{ progress: string }>(SELECT_PROGRESS, name))?.progress;
}

/** Saves progress. @param progress undefined to remove it */
export function saveRepairProgress(database: Database, name: string, progress: string | undefined): Promise<void> {
  return progress === undefined ? database.run(FORGET_PROGRESS, name) : database.run(SAVE_PROGRESS, name, progress);
}
