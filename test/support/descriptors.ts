import { MOST_INLINE } from '../../src/stores/manifests/descriptors.ts';

/**
 * Gives the manifests of a database the descriptors that its rows of `manifest_references` stand for. Triggers make
 * these rows from the descriptors; a test that inserts very many rows does without triggers.
 */
export async function describeManifests(database: D1Database): Promise<void> {
  await database
    .prepare(
      `UPDATE manifests SET descriptors = named.descriptors FROM (
        SELECT repository, manifest,
          json_group_array(json_object('kind', kind, 'digest', digest, 'size', size)) AS descriptors
        FROM manifest_references GROUP BY repository, manifest) AS named
      WHERE manifests.repository = named.repository AND manifests.digest = named.manifest`,
    )
    .run();
  await database.batch([
    database.prepare(
      `INSERT INTO large_descriptors (repository, digest, descriptors)
       SELECT repository, digest, descriptors FROM manifests WHERE length(descriptors) > ${MOST_INLINE}
       ON CONFLICT DO NOTHING`,
    ),
    database.prepare(`UPDATE manifests SET descriptors = NULL WHERE length(descriptors) > ${MOST_INLINE}`),
  ]);
}
