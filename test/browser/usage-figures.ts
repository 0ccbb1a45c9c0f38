/** Figures for the charts: 90 days of an organization's storage, and a day of pushes. */
import { fileURLToPath } from 'node:url';
import { Control } from '../bench/control.ts';

/** The Worker with a route that runs SQL. */
export const WITH_SQL = fileURLToPath(new URL('../bench/worker.js', import.meta.url));
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** The largest repositories: most bytes of the second one are shared with others. */
const REPOSITORIES = [
  { name: 'alice/runtime', bytes: 4e9, unshared: 4e9, share: 4e9 },
  { name: 'alice/app', bytes: 6e9, unshared: 5e8, share: 3e9 },
  { name: 'alice/a-repository-with-a-long-name', bytes: 1e9, unshared: 1e9, share: 1e9 },
  { name: 'alice/small', bytes: 1e8, unshared: 5e7, share: 6e7 },
];

/**
 * Writes 90 days of storage usage for the organization alice, the sizes of its largest repositories, and a day of
 * pushes.
 * @param port central's
 */
export async function noteUsage(port: number): Promise<void> {
  const measured = { organization: 'alice', count: 90, bytes: 9e9, largest: REPOSITORIES };
  const today = Math.floor(Date.now() / DAY);
  await new Control(port).sql(
    'central',
    "UPDATE organizations SET created_at = 0, quota_bytes = 12000000000 WHERE name = 'alice'",
    `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 89)
     INSERT OR REPLACE INTO usage_by_day (day, organization, noted_at, used, quota_bytes)
     SELECT ${today} - i, 'alice', 1, 9000000000 - i * 50000000 - (i % 7) * 200000000,
       iif(i > 60, NULL, iif(i > 30, 8000000000, 12000000000)) FROM n`,
    `INSERT OR REPLACE INTO largest_repositories VALUES ('alice', 1790000000000, '${JSON.stringify(measured)}')`,
    // The current hour starts at document number 0, so its figure is the number of all documents pushed so far.
    `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 22)
     INSERT OR REPLACE INTO documents_by_hour (hour, documents)
     SELECT ${Math.floor(Date.now() / HOUR)} - i, iif(i = 0, 0, 500 - i * 20) FROM n`,
  );
}
