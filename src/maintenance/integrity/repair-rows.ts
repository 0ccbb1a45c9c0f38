/** The progress of copies that replace damaged objects: a large one can take more than one run of maintenance. */
import type { Digest } from '../../oci/digest.ts';
import { type Database, sql } from '../../stores/database.ts';

const SELECT_PROGRESS = sql`SELECT progress FROM repairs WHERE digest = ?1`;
const SAVE_PROGRESS = sql`
  INSERT INTO repairs (digest, progress) VALUES (?1, ?2) ON CONFLICT (digest) DO UPDATE
    SET progress = excluded.progress`;
const FORGET_PROGRESS = sql`DELETE FROM repairs WHERE digest = ?1`;

export async function repairProgress(database: Database, digest: Digest): Promise<string | undefined> {
  return (await database.first<{ progress: string }>(SELECT_PROGRESS, digest))?.progress;
}

/** Saves the progress of a copy. @param progress undefined to remove it */
export function saveRepairProgress(database: Database, digest: Digest, progress: string | undefined): Promise<void> {
  return progress === undefined ? database.run(FORGET_PROGRESS, digest) : database.run(SAVE_PROGRESS, digest, progress);
}
