/**
 * Mistakes that are made on purpose, to show that the suite finds them: statements are rewritten on their way to D1, so
 * that the code itself knows nothing of it.
 */
import { GRACE } from '../../../support/fixture.ts';
import type { Reach } from './isolates.ts';

/** What a statement has to match, and what becomes of the match. */
type Rewriting = readonly [from: RegExp, to: string];

export const MISTAKES = {
  'a node collecting without central’s release': [
    [
      /(SELECT asked\.value AS digest FROM json_each\(\?1\) AS asked WHERE) \?5 = 1 AND [\s\S]*$/,
      '$1 ?5 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM locations own WHERE own.digest = asked.value AND own.store = ?4)',
    ],
  ],
  'release kept across a cleared mark': [[/l\.leaving = \?3 AND/, '?3 IS NOT NULL AND']],
  'eviction without renewing central’s lease': [
    [/max\(lease_until, CAST\(\?6 AS INTEGER\)\)/, 'max(lease_until, ?6 - ?6)'],
    // The second defence: what a live manifest of the node names does not leave.
    [/(l\.lease_until <= CAST\(\?4 AS INTEGER\)) AND NOT \(EXISTS \([\s\S]*?LIMIT 1 OFFSET \d+\)\)/, '$1'],
  ],
  'collecting while a node lags': [
    [/SELECT min\(written_at\) AS written_at FROM markers INDEXED BY markers_in_order/, 'SELECT NULL AS written_at'],
  ],
  'leases renewed only below g': [
    [/(digest = \?2 AND \(lease_until < CAST\(\?3 AS INTEGER\))/, `$1 - ${0.75 * GRACE}`],
  ],
  'a commit on a link of any age': [
    [/k\.usable_until > CAST\((\?\d) AS INTEGER\)/, 'k.usable_until > CAST($1 AS INTEGER) - 1e18'],
  ],
  'the condition dropped from the deleting statement': [
    [
      /(DELETE FROM locations AS l WHERE l\.digest IN \(SELECT value FROM json_each\(\?1\)\)) AND NOT[\s\S]*$/,
      '$1 AND ?2 IS NOT NULL',
    ],
  ],
} as const satisfies Record<string, readonly Rewriting[]>;

/** Databases whose statements are rewritten, and how many statements were, by rewriting. */
export function planted(rewritings: readonly Rewriting[]): {
  readonly reach: Reach;
  readonly counts: readonly number[];
} {
  const counts = rewritings.map(() => 0);
  const rewritten = (query: string): string =>
    rewritings.reduce((text, [from, to], i) => {
      const changed = text.replace(from, to);
      if (changed !== text) counts[i] = (counts[i] ?? 0) + 1;
      return changed;
    }, query);
  const reach: Reach = (database) => {
    const reached = (session: Pick<D1Database, 'prepare' | 'batch'>) => ({
      prepare: (query: string) => session.prepare(rewritten(query)),
      batch: (statements: D1PreparedStatement[]) => session.batch(statements),
    });
    return {
      ...reached(database),
      withSession: (start?: string) => reached(database.withSession(start)),
    } as D1Database;
  };
  return { reach, counts };
}
