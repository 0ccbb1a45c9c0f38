/**
 * Versions: one hybrid logical clock value for a whole transaction, computed inside it.
 *
 * A version is `milliseconds * 1000 + counter`. It is greater than any version that the store has written, merged, or
 * shown to a client (`nextVersion` in versions.ts is the rule). The statement that takes a version writes the batch's
 * commit id to the clock's single row, and the later statements of the batch run only if they find that id there. So
 * the condition is checked once, by the statement that takes the version, and the batch happens either as a whole or
 * not at all.
 */
import { type BoundStatement, type Database, type Sql, sql } from './database.ts';
import type { Actor } from './organizations/audit-rows.ts';

/** The place and time of a commit, and its actor. */
export interface CommitContext {
  /** The store's name, which becomes the origin of its tag writes. */
  readonly origin: string;
  /** Whether the commit writes outbox entries: true at a node, false at central. */
  readonly announces: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The actor who asks for the commit; Berth itself by default. */
  readonly by?: Actor;
}

/** The row of a statement that takes a version. */
export interface TakenVersion {
  readonly version: number;
}

/** The number of versions that a millisecond has room for. */
export const VERSIONS_PER_MILLISECOND = 1000;

/** Returns the first version of a time in milliseconds since the epoch. */
export function versionOf(milliseconds: number): number {
  return milliseconds * VERSIONS_PER_MILLISECOND;
}

/** SQL that holds if the transaction has been committed before, and no other has taken a version since. */
const IS_DONE = "commit_id IN (?2, ?2 || '+')";

/**
 * Takes a version if `condition` holds, and returns no row otherwise. It must be the first statement of its
 * transaction. ?1 is the wall clock as a version and ?2 a fresh commit id; the condition's own parameters follow.
 *
 * If the same transaction runs again after it was committed, it returns the same version and writes nothing: the mark
 * on the commit id keeps its later statements from running. If another transaction has taken a version since, the
 * transaction is not recognized, and takes a new version.
 * @param after SQL for a version that must be exceeded as well
 */
export function takeVersion(condition: string, after = '0'): Sql<TakenVersion> {
  return sql<TakenVersion>`
    UPDATE clock SET
      version = iif(${IS_DONE}, version, max(CAST(?1 AS INTEGER), version + 1, ${after} + 1)),
      commit_id = iif(${IS_DONE}, ?2 || '+', ?2)
    WHERE id = 1 AND (${IS_DONE} OR (${condition})) RETURNING version`;
}

/** SQL that holds if the batch took a version. `commit` names the parameter with the commit id. */
export function committed(commit: string): string {
  return `clock.id = 1 AND clock.commit_id = ${commit}`;
}

const SELECT_CLOCK = sql<{ version: number }>`SELECT version FROM clock WHERE id = 1`;

/** Selects the greatest version that the store has seen. */
export function selectClock(): BoundStatement<{ version: number }> {
  return [SELECT_CLOCK];
}

// Clears the commit id, because no commit has taken the raised version.
const RAISE_CLOCK = sql`
  UPDATE clock SET version = CAST(?1 AS INTEGER), commit_id = '' WHERE id = 1 AND version < CAST(?1 AS INTEGER)`;

/** Makes every later version of the store greater than `seen`. */
export function raiseClock(seen: number): BoundStatement {
  return [RAISE_CLOCK, seen];
}

/**
 * Raises the store's clock to `seen`, a version from another store that is about to be shown to a client, so that the
 * store's next version is greater. In normal operation versions are below the wall clock; then nothing is written.
 * @param seen the greatest version that will be shown
 * @param now milliseconds since the epoch
 */
export async function raiseClockTo(database: Database, seen: number, now: number): Promise<void> {
  if (seen >= versionOf(now)) await database.batch([raiseClock(seen)], { again: true });
}
