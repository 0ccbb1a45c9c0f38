/** The keys under which a store has the blobs of one manifest. */
import { descriptorsOf } from './descriptors.ts';
import type { Digest } from '../../oci/digest.ts';

/** The most blobs of a manifest whose keys are looked up. Images rarely have more layers. */
export const MOST_BLOBS = 128;

export interface BlobKey {
  readonly digest: Digest;
  readonly key: string;
}

/**
 * SQL for the keys of the blobs of a row of `manifests`, at most {@link MOST_BLOBS}, as a JSON array of
 * {@link BlobKey}. It omits empty blobs, and blobs whose bytes the store lacks. It does not check that the manifest is
 * visible, so a key gives no right to read the blob.
 * @param store SQL for the name of the store
 */
export function keysOfBlobs(row: string, store: string): string {
  return `(SELECT json_group_array(json_object('digest', l.digest, 'key', l.key))
    FROM (
      SELECT d.value ->> 'digest' AS digest, d.value ->> 'kind' AS kind
      FROM json_each(${descriptorsOf(row)}) AS d LIMIT ${String(MOST_BLOBS)}
    ) b
    JOIN locations l ON l.digest = b.digest AND l.store = ${store} AND l.damage IS NULL AND l.size > 0
    WHERE b.kind <> 'child')`;
}
