/**
 * Checks the sizes in descriptors. Clients read exactly as many bytes as a descriptor states, and fail if there are
 * more or fewer. So a manifest whose descriptors contradict the repository's content could never be pulled.
 */
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { ManifestReference } from '../../oci/manifest.ts';
import { sql } from '../database.ts';
import { isAliveManifest, isAliveLink } from '../deletion/removals.ts';

/** A descriptor whose size differs from that of the content in the repository. */
interface Contradiction {
  readonly digest: Digest;
  /** Bytes, according to the descriptor. */
  readonly stated: number;
  /** Bytes of the content. */
  readonly actual: number;
}

/**
 * SQL that selects rows of {@link Contradiction}. `references` names the parameter that holds the descriptors, as JSON.
 * It looks only at live manifests of the repository and at blobs that it links, so that it reveals nothing that another
 * tenant holds.
 */
export const CONTRADICTIONS = (references: string, repository: string): string => `
  SELECT digest, stated, actual FROM (
    SELECT reference.value ->> 'digest' AS digest, reference.value ->> 'size' AS stated, coalesce(
      (SELECT m.size FROM manifests m WHERE m.repository = ${repository} AND m.digest = reference.value ->> 'digest'
        AND ${isAliveManifest('m')}),
      (SELECT l.size FROM links k CROSS JOIN locations l ON l.digest = k.digest
        WHERE k.repository = ${repository} AND k.digest = reference.value ->> 'digest' AND ${isAliveLink('k')}
          LIMIT 1)) AS actual
    FROM json_each(${references}) AS reference)
  WHERE stated <> actual`;

/** ?1 descriptors as JSON, ?2 repository. */
export const SELECT_CONTRADICTIONS = sql<Contradiction>`${CONTRADICTIONS('?1', '?2')}`;

/** Returns the error for some contradictions, with an entry for each digest. */
export function sizesContradicted(contradictions: readonly Contradiction[]): OciError {
  return new OciError('MANIFEST_INVALID', {
    entries: contradictions.map(({ digest, stated, actual }) => ({
      message:
        `the manifest says that ${digest} has ${stated} bytes, but it has ${actual}: ` +
        'build the manifest from the content that was pushed',
      detail: { digest, stated, actual },
    })),
  });
}

/**
 * Checks descriptors as the commit does, against sizes that another store has reported.
 * @throws OciError MANIFEST_INVALID
 */
export function requireStatedSizes(references: readonly ManifestReference[], sizes: ReadonlyMap<Digest, number>): void {
  const contradictions = references.flatMap(({ digest, size: stated }): Contradiction[] => {
    const actual = sizes.get(digest);
    return actual === undefined || stated === null || stated === actual ? [] : [{ digest, stated, actual }];
  });
  if (contradictions.length > 0) throw sizesContradicted(contradictions);
}
