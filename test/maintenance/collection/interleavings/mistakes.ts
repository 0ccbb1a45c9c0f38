/**
 * Mistakes that are planted on purpose, to show that the suite finds them. Statements are rewritten on their way to D1,
 * so the code itself stays unchanged.
 */
import { GRACE } from '../../../support/fixture.ts';
import type { Reach } from './isolates.ts';

/** A pattern in a statement, and its replacement. */
type Rewriting = readonly [from: RegExp, to: string];

export const MISTAKES = {
  'a node that collects without central’s release': [
    [
      /(SELECT asked\.value AS digest FROM json_each\(\?1\) AS asked WHERE) \?5 = 1\s+AND [\s\S]*$/,
      `$1 ?5 IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM locations c WHERE c.digest = asked.value AND c.store = ?4)`,
    ],
  ],
  'a release that outlives a cleared mark': [[/l\.releasing = \?3 AND/, '?3 IS NOT NULL AND']],
  'an eviction that does not renew central’s lease': [
    [/max\(lease_until, CAST\(\?6 AS INTEGER\)\)/, 'max(lease_until, ?6 - ?6)'],
    // This drops the second defence, which keeps blobs that a live manifest of the node names.
    [/(l\.lease_until <= CAST\(\?4 AS INTEGER\)) AND NOT \(EXISTS \([\s\S]*?LIMIT 1 OFFSET \d+\)\)/, '$1'],
  ],
  'a collection while a node lags': [
    [/SELECT min\(written_at\) AS written_at FROM outbox INDEXED BY outbox_in_order/, 'SELECT NULL AS written_at'],
  ],
  'leases that are renewed only below g': [
    [/(digest = \?2 AND \(lease_until < CAST\(\?3 AS INTEGER\))/, `$1 - ${0.75 * GRACE}`],
  ],
  'a commit on a link of any age': [
    [/k\.usable_until > CAST\((\?\d) AS INTEGER\)/, 'k.usable_until > CAST($1 AS INTEGER) - 1e18'],
  ],
  'a HEAD that relies on a link of any age': [
    [/k\.usable_until >= CAST\(\?5 AS INTEGER\)/, 'k.usable_until >= CAST(?5 AS INTEGER) - 1e18'],
  ],
  'a deleting statement without its condition': [
    [
      /(DELETE FROM locations AS l WHERE l\.digest IN \(SELECT value FROM json_each\(\?1\)\))\s+AND NOT[\s\S]*$/,
      '$1 AND ?2 IS NOT NULL',
    ],
  ],
} as const satisfies Record<string, readonly Rewriting[]>;

/** Returns a wrapper for databases that rewrites statements, and how many statements each rewriting has changed. */
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
