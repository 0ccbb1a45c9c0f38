/**
 * Versions: one hybrid logical clock value for a whole transaction, computed inside it.
 *
 * A version is `milliseconds * 1000 + counter`, greater than any version that the store has written, merged, or shown
 * to a client (`nextVersion` in versions.ts is the rule). The transaction that takes one leaves its commit id on the
 * clock's single row; the statements after it in the same batch run only where they find that id. So a condition is
 * judged once, in the statement that takes the version, and either all of a batch happens or none.
 */
import { type BoundStatement, type Database, type Sql, sql } from './database.ts';
import type { Actor } from './organizations/audit-rows.ts';
import type { StoreLimits } from './organizations/limits.ts';

/**
 * Where a commit happens: the store's name is the origin of its tag writes, and a node's store marks what it has to
 * announce.
 */
export interface CommitContext {
  readonly origin: string;
  readonly announces: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Who asks for a deletion: Berth itself, unless told. */
  readonly by?: Actor;
  /** What organizations may have: the defaults, unless told. */
  readonly limits?: StoreLimits | undefined;
}

/** What a statement gives that takes a version. */
export interface Taken {
  readonly version: number;
}

/** Versions of one millisecond. */
export const VERSIONS_PER_MILLISECOND = 1000;

export function versionOf(milliseconds: number): number {
  return milliseconds * VERSIONS_PER_MILLISECOND;
}

/**
 * Takes a version if `condition` holds: `UPDATE clock` as the first statement of a transaction. ?1 is the wall clock as
 * a version, ?2 the fresh commit id; the condition's own parameters follow. Gives no row if it does not.
 */
export function takeVersion(condition: string): Sql<Taken> {
  return sql<Taken>`
    UPDATE clock SET version = max(CAST(?1 AS INTEGER), version + 1), commit_id = ?2
    WHERE id = 1 AND ${condition} RETURNING version`;
}

/** The condition under which a statement runs whose batch took a version; `commit` names the commit id's parameter. */
export function committed(commit: string): string {
  return `clock.id = 1 AND clock.commit_id = ${commit}`;
}

const SELECT_CLOCK = sql<{ version: number }>`SELECT version FROM clock WHERE id = 1`;

/** The store's clock. */
export function selectClock(): BoundStatement<{ version: number }> {
  return [SELECT_CLOCK];
}

const RAISE_CLOCK = sql`UPDATE clock SET version = CAST(?1 AS INTEGER) WHERE id = 1 AND version < CAST(?1 AS INTEGER)`;

/** Makes every later version of the store greater than `seen`. */
export function raiseClock(seen: number): BoundStatement {
  return [RAISE_CLOCK, seen];
}

/**
 * Raises the clock of a store to what is about to be shown to a client from another, if the next version might not be
 * greater.
 * Versions are below the wall clock in normal operation, and nothing is written.
 */
export async function raiseClockTo(database: Database, seen: number, now: number): Promise<void> {
  if (seen >= versionOf(now)) await database.batch([raiseClock(seen)]);
}
