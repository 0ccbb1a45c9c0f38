/** What organizations use, counted afresh from the rows that say so, beside what a store's columns say. */

const ORGANIZATION = (repository: string): string => `substr(${repository}, 1, instr(${repository}, '/') - 1)`;

// A blob counts for an organization if one of its repositories may read it, and either a live manifest there names it, or none ever has
// or has since it was renewed.
const SCAN = `
  WITH uses AS (
    SELECT ${ORGANIZATION('k.repository')} AS organization, k.digest,
      EXISTS (SELECT 1 FROM manifest_references r JOIN manifests m ON m.repository = r.repository AND m.digest = r.manifest
        WHERE r.repository = k.repository AND r.digest = k.digest AND r.kind <> 'subject'
          AND m.created_version > m.deleted_version) AS live,
      k.released = 2 OR (k.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
        WHERE r.repository = k.repository AND r.digest = k.digest AND r.kind <> 'subject')) AS fresh
    FROM links k)
  SELECT organization, digest, sum(live) AS live, sum(fresh) AS fresh FROM uses
  GROUP BY organization, digest HAVING sum(live) + sum(fresh) > 0 ORDER BY organization, digest`;

const SESSIONS = `
  SELECT ${ORGANIZATION('repository')} AS organization, sum(size) AS uploading FROM uploads WHERE state = 'open' GROUP BY 1`;

interface Blob {
  readonly organization: string;
  readonly digest: string;
  readonly live: number;
  readonly fresh: number;
}

export interface Sums {
  blobs: number;
  bytes: number;
  unreferenced: number;
  uploading: number;
}

interface Counted {
  readonly blobs: readonly Blob[];
  readonly sums: Readonly<Record<string, Sums>>;
}

async function rows<Row>(database: D1Database, query: string): Promise<Row[]> {
  return (await database.prepare(query).all<Row>()).results;
}

/** From links, references, manifests, locations and sessions. Blobs that a node leaves to central count there. */
export async function scannedUsage(database: D1Database): Promise<Counted> {
  const blobs = await rows<Blob>(database, SCAN);
  const sizes = new Map(
    (await rows<{ digest: string; size: number }>(database, SIZES)).map(({ digest, size }) => [digest, size]),
  );
  const left = new Set((await rows<{ key: string }>(database, LEFT)).map(({ key }) => key));
  const sums: Record<string, Sums> = {};
  const of = (organization: string): Sums => (sums[organization] ??= { blobs: 0, bytes: 0, unreferenced: 0, uploading: 0 });
  for (const { organization, digest, live } of blobs) {
    const size = left.has(`${organization} ${digest}`) ? 0 : (sizes.get(digest) ?? 0);
    of(organization).blobs++;
    of(organization).bytes += size;
    if (live === 0) of(organization).unreferenced += size;
  }
  for (const { organization, uploading } of await rows<{ organization: string; uploading: number }>(database, SESSIONS)) {
    of(organization).uploading += uploading;
  }
  return { blobs, sums };
}

const SIZES =
  'SELECT digest, max(size) AS size FROM locations GROUP BY digest UNION ALL SELECT digest, size FROM usage_blobs WHERE size IS NOT NULL';
const LEFT = "SELECT organization || ' ' || digest AS key FROM usage_blobs WHERE known = 1";

/** By the columns. */
export async function keptUsage(database: D1Database): Promise<Counted> {
  const blobs = await rows<Blob>(
    database,
    'SELECT organization, digest, live, fresh FROM usage_blobs ORDER BY organization, digest',
  );
  const sums = await rows<Sums & { organization: string }>(
    database,
    'SELECT organization, blobs, bytes, unreferenced, uploading FROM usage WHERE blobs + bytes + unreferenced + uploading <> 0',
  );
  return { blobs, sums: Object.fromEntries(sums.map(({ organization, ...sum }) => [organization, sum])) };
}
