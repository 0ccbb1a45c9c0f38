/**
 * SQL for what indexes list, level by level. A recursive query would not be bounded: its LIMIT cuts what it answers,
 * after it has read all that any of these lists. Here a level ends at its LIMIT, and no level reads more rows than it
 * may answer.
 */

/** Indexes may list indexes; nothing that is more levels below an image counts as a part of it. */
const LEVELS_BELOW = 4;
/** Of the indexes that list indexes that list a manifest. */
const LEVELS_ABOVE = 4;

/**
 * Common table expressions, the last of them `reached (digest, depth)`: a manifest and all that it lists, each once and
 * at its greatest depth.
 * @param repository SQL of its name
 * @param manifest SQL of a digest
 * @param most SQL of how many a level may have
 */
export function reachedFrom(repository: string, manifest: string, most: string): string {
  const levels = [`level0 (digest) AS MATERIALIZED (SELECT ${manifest})`];
  for (let level = 1; level <= LEVELS_BELOW; level++) {
    levels.push(`level${level} (digest) AS MATERIALIZED (
      SELECT r.digest FROM level${level - 1} CROSS JOIN manifest_references r INDEXED BY manifest_references_by_manifest
        ON r.repository = ${repository} AND r.manifest = level${level - 1}.digest AND r.kind = 'child'
      LIMIT ${most})`);
  }
  const all = levels.map((_, level) => `SELECT digest, ${level} AS depth FROM level${level}`).join(' UNION ALL ');
  return `${levels.join(', ')}, reached (digest, depth) AS MATERIALIZED (SELECT digest, max(depth) FROM (${all}) GROUP BY digest)`;
}

/**
 * Common table expressions, the last of them `above (repository, digest)`: the indexes that list manifests, and those
 * that list these.
 * @param manifests SQL that selects their repositories and digests
 * @param most SQL of how many a level may have
 */
export function indexesAbove(manifests: string, most: string): string {
  const levels = [`below0 (repository, digest) AS MATERIALIZED (${manifests})`];
  for (let level = 1; level <= LEVELS_ABOVE; level++) {
    levels.push(`below${level} (repository, digest) AS MATERIALIZED (
      SELECT r.repository, r.manifest FROM below${level - 1} CROSS JOIN manifest_references r INDEXED BY manifest_references_children
        ON r.repository = below${level - 1}.repository AND r.digest = below${level - 1}.digest AND r.kind = 'child'
      LIMIT ${most})`);
  }
  const all = levels.slice(1).map((_, i) => `SELECT repository, digest FROM below${i + 1}`);
  return `${levels.join(', ')}, above AS (${all.join(' UNION ')})`;
}
