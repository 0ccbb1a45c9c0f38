/** The usage of organizations, counted anew from rows, to compare with the totals that a store keeps. */

const ORGANIZATION = (repository: string): string => `substr(${repository}, 1, instr(${repository}, '/') - 1)`;

// A blob counts for an organization if one of its repositories has a link to it that counts. A link whose blob a live
// manifest of the repository names always counts.
const NAMED = `
  SELECT m.repository, d.value ->> 'digest' AS digest, d.value ->> 'kind' AS kind, m.digest AS manifest
  FROM manifests m CROSS JOIN json_each(m.descriptors) AS d WHERE m.created_version > m.deleted_version`;
const SCAN = `
  SELECT organization, digest, sum(counts) AS uses, max(referenced) AS referenced FROM (
    SELECT ${ORGANIZATION('k.repository')} AS organization, k.digest, k.counts > 0 OR EXISTS (
        SELECT 1 FROM (${NAMED}) AS n WHERE n.repository = k.repository AND n.digest = k.digest) AS counts,
      EXISTS (SELECT 1 FROM (${NAMED}) AS n WHERE n.digest = k.digest
        AND ${ORGANIZATION('n.repository')} = ${ORGANIZATION('k.repository')}) AS referenced
    FROM links k)
  GROUP BY organization, digest HAVING sum(counts) > 0 ORDER BY organization, digest`;
const REFERENCES = `SELECT repository, digest, kind, manifest FROM`;
const IN_ORDER = 'ORDER BY repository, digest, kind, manifest';

const SESSIONS = `
  SELECT ${ORGANIZATION('repository')} AS organization, sum(size) AS uploading, count(*) AS sessions FROM uploads
    WHERE state = 'open' GROUP BY 1`;

const UPLOAD_ROWS = `
  SELECT ${ORGANIZATION('repository')} AS organization, sum(rows) AS upload_rows FROM uploads GROUP BY 1`;

interface Blob {
  readonly organization: string;
  readonly digest: string;
  /** The number of repositories that count it. */
  readonly uses: number;
}

// The bytes of a manifest count once for each organization. The manifest itself counts in each repository.
const MANIFESTS = `
  SELECT ${ORGANIZATION('repository')} AS organization, digest, size, count(*) AS live FROM manifests
  WHERE created_version > deleted_version GROUP BY 1, digest ORDER BY 1, digest`;
const DOCUMENTS = `
  SELECT ${ORGANIZATION('c.repository')} AS organization, sum(length(CAST(c.content AS BLOB))) AS stored
  FROM manifest_contents c GROUP BY 1`;
const TAGS = `
  SELECT ${ORGANIZATION('repository')} AS organization, count(*) AS tags FROM tags WHERE visible = 1
  AND (repository, name) NOT IN (SELECT repository, name FROM known_tags) GROUP BY 1`;

const TAG_ROWS = `SELECT ${ORGANIZATION('repository')} AS organization, count(*) AS tag_rows FROM tags GROUP BY 1`;

const REPOSITORIES = `
  SELECT ${ORGANIZATION('name')} AS organization, sum(listed) AS repositories, count(*) AS repository_rows
    FROM repositories GROUP BY 1`;

export interface Sums {
  blobs: number;
  bytes: number;
  unreferenced: number;
  uploading: number;
  manifests: number;
  manifest_bytes: number;
  stored_manifest_bytes: number;
  tags: number;
  tag_rows: number;
  open_uploads: number;
  upload_rows: number;
  repositories: number;
  repository_rows: number;
}

export const NOTHING: Sums = {
  blobs: 0,
  bytes: 0,
  unreferenced: 0,
  uploading: 0,
  manifests: 0,
  manifest_bytes: 0,
  stored_manifest_bytes: 0,
  tags: 0,
  tag_rows: 0,
  open_uploads: 0,
  upload_rows: 0,
  repositories: 0,
  repository_rows: 0,
};

interface LiveManifest {
  readonly organization: string;
  readonly digest: string;
  readonly size: number;
  readonly live: number;
}

interface Counted {
  readonly blobs: readonly Blob[];
  readonly references: readonly object[];
  readonly manifests: readonly LiveManifest[];
  readonly sums: Readonly<Record<string, Sums>>;
}

async function rows<Row>(database: D1Database, query: string): Promise<Row[]> {
  return (await database.prepare(query).all<Row>()).results;
}

/**
 * Counts the usage from links, references, manifests, locations and sessions. Blobs that central counts do not count at
 * a node.
 */
export async function scannedUsage(database: D1Database): Promise<Counted> {
  const found = await rows<Blob & { referenced: number }>(database, SCAN);
  const sizes = new Map(
    (await rows<{ digest: string; size: number }>(database, SIZES)).map(({ digest, size }) => [digest, size]),
  );
  const left = new Set((await rows<{ key: string }>(database, LEFT)).map(({ key }) => key));
  const sums: Record<string, Sums> = {};
  const of = (organization: string): Sums => (sums[organization] ??= { ...NOTHING });
  for (const { organization, digest, referenced } of found) {
    if (left.has(`${organization} ${digest}`)) continue;
    const size = sizes.get(digest) ?? 0;
    of(organization).blobs++;
    of(organization).bytes += size;
    if (referenced === 0) of(organization).unreferenced += size;
  }
  for (const { organization, uploading, sessions } of await rows<{
    organization: string;
    uploading: number;
    sessions: number;
  }>(database, SESSIONS)) {
    of(organization).uploading += uploading;
    of(organization).open_uploads += sessions;
  }
  const uploadRows = await rows<{ organization: string; upload_rows: number }>(database, UPLOAD_ROWS);
  for (const { organization, upload_rows: count } of uploadRows) of(organization).upload_rows = count;
  const manifests = await rows<LiveManifest>(database, MANIFESTS);
  const leftManifests = new Set((await rows<{ key: string }>(database, LEFT_MANIFESTS)).map(({ key }) => key));
  for (const { organization, digest, size, live } of manifests) {
    if (leftManifests.has(`${organization} ${digest}`)) continue;
    of(organization).manifests += live;
    of(organization).manifest_bytes += size;
  }
  for (const { organization, stored } of await rows<{ organization: string; stored: number }>(database, DOCUMENTS)) {
    of(organization).stored_manifest_bytes += stored;
  }
  for (const { organization, tags } of await rows<{ organization: string; tags: number }>(database, TAGS)) {
    of(organization).tags += tags;
  }
  const tagRows = await rows<{ organization: string; tag_rows: number }>(database, TAG_ROWS);
  for (const { organization, tag_rows: count } of tagRows) of(organization).tag_rows = count;
  for (const { organization, ...counted } of await rows<
    Pick<Sums, 'repositories' | 'repository_rows'> & { organization: string }
  >(database, REPOSITORIES)) {
    Object.assign(of(organization), counted);
  }
  return {
    blobs: found.map(({ referenced: _referenced, ...blob }) => blob),
    references: await rows(database, `${REFERENCES} (${NAMED}) ${IN_ORDER}`),
    manifests,
    sums,
  };
}

const SIZES = `
  SELECT digest, max(size) AS size FROM locations GROUP BY digest
  UNION ALL SELECT digest, size FROM usage_blobs WHERE size IS NOT NULL`;
const LEFT = "SELECT organization || ' ' || digest AS key FROM usage_blobs WHERE known = 1";

const LEFT_MANIFESTS = "SELECT organization || ' ' || digest AS key FROM usage_manifests WHERE known = 1";

/** Reads the usage that a store keeps. */
export async function keptUsage(database: D1Database): Promise<Counted> {
  const blobs = await rows<Blob>(
    database,
    'SELECT organization, digest, uses FROM usage_blobs ORDER BY organization, digest',
  );
  const manifests = await rows<LiveManifest>(
    database,
    'SELECT organization, digest, size, live FROM usage_manifests ORDER BY organization, digest',
  );
  const columns = Object.keys(NOTHING);
  const sums = await rows<Sums & { organization: string }>(
    database,
    `SELECT organization, ${columns.join(', ')} FROM usage
      WHERE ${columns.map((column) => `${column} <> 0`).join(' OR ')}`,
  );
  return {
    blobs,
    references: await rows(database, `${REFERENCES} manifest_references ${IN_ORDER}`),
    manifests,
    sums: Object.fromEntries(sums.map(({ organization, ...sum }) => [organization, sum])),
  };
}
