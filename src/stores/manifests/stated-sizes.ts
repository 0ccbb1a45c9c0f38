/**
 * Descriptors say how long the content is that they name. Clients stop at that length and fail on another, so a
 * manifest whose descriptors contradict what the repository holds could never be pulled.
 */
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { ManifestReference } from '../../oci/manifest.ts';
import { sql } from '../database.ts';
import { isAliveManifest, isAliveLink } from '../deletion/removals.ts';

/** A descriptor, and the content that the repository holds under its digest. */
export interface Contradiction {
  readonly digest: Digest;
  /** Bytes, as the descriptor says. */
  readonly stated: number;
  /** Bytes of the content. */
  readonly actual: number;
}

/**
 * Rows of {@link Contradiction}. `references` names the parameter that has descriptors as JSON. Looks only at live
 * manifests of the repository and at blobs that it links: what another tenant holds must not show.
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

/** One entry for each digest. */
export function sizesContradicted(contradictions: readonly Contradiction[]): OciError {
  return new OciError('MANIFEST_INVALID', {
    entries: contradictions.map(({ digest, stated, actual }) => ({
      message: `the manifest says that ${digest} is ${stated} bytes long, but it is ${actual}: make the manifest from what was pushed`,
      detail: { digest, stated, actual },
    })),
  });
}

/** As the commit does, for content whose size another store has told. @throws OciError MANIFEST_INVALID */
export function requireStatedSizes(references: readonly ManifestReference[], sizes: ReadonlyMap<Digest, number>): void {
  const contradictions = references.flatMap(({ digest, size: stated }): Contradiction[] => {
    const actual = sizes.get(digest);
    return actual === undefined || stated === null || stated === actual ? [] : [{ digest, stated, actual }];
  });
  if (contradictions.length > 0) throw sizesContradicted(contradictions);
}
