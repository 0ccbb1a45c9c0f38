/**
 * SQL for the manifests that indexes list, level by level. A recursive query would not be bounded: its LIMIT cuts the
 * result only after it has read everything that the indexes list. Here each level ends at its own LIMIT, and reads no
 * more rows than it may return.
 */
import { descriptorsOf } from './descriptors.ts';

/** Indexes may list indexes. Anything more than this many levels below an image is not counted as part of it. */
export const LEVELS_BELOW = 4;
/** The number of levels of indexes above a manifest that are searched. */
const LEVELS_ABOVE = 4;

/**
 * Returns common table expressions. The last, `reached (digest, depth)`, has a manifest and everything that it lists,
 * each once and at its greatest depth.
 * @param repository SQL for the repository's name
 * @param manifest SQL for the manifest's digest
 * @param most SQL for the most rows of one level
 */
export function reachedFrom(repository: string, manifest: string, most: string): string {
  const levels = [`level0 (digest) AS MATERIALIZED (SELECT ${manifest})`];
  for (let level = 1; level <= LEVELS_BELOW; level++) {
    levels.push(`level${level} (digest) AS MATERIALIZED (
      SELECT d.value ->> 'digest' FROM level${level - 1}
      CROSS JOIN manifests m ON m.repository = ${repository} AND m.digest = level${level - 1}.digest
      CROSS JOIN json_each(${descriptorsOf('m')}) AS d WHERE d.value ->> 'kind' = 'child'
      LIMIT ${most})`);
  }
  const all = levels.map((_, level) => `SELECT digest, ${level} AS depth FROM level${level}`).join(' UNION ALL ');
  return `${levels.join(', ')}, reached (digest, depth) AS MATERIALIZED (
    SELECT digest, max(depth) FROM (${all}) GROUP BY digest)`;
}

/**
 * Returns common table expressions. The last, `above (repository, digest)`, has the indexes that list some manifests,
 * directly or through other indexes.
 * @param manifests SQL that selects the repositories and digests of the manifests
 * @param most SQL for the most rows of one level
 */
export function indexesAbove(manifests: string, most: string): string {
  const levels = [`below0 (repository, digest) AS MATERIALIZED (${manifests})`];
  for (let level = 1; level <= LEVELS_ABOVE; level++) {
    levels.push(`below${level} (repository, digest) AS MATERIALIZED (
      SELECT r.repository, r.manifest
      FROM below${level - 1} CROSS JOIN manifest_references r
        ON r.digest = below${level - 1}.digest AND r.repository = below${level - 1}.repository AND r.kind = 'child'
      LIMIT ${most})`);
  }
  const all = levels.slice(1).map((_, i) => `SELECT repository, digest FROM below${i + 1}`);
  return `${levels.join(', ')}, above AS (${all.join(' UNION ')})`;
}
