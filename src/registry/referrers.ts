import { annotationsOf } from '../oci/manifest.ts';
import type { ReferrerPosition, ReferrerRow } from '../stores/list-rows.ts';
import type { Referrer } from './registry.ts';

/** Bytes of manifests whose annotations one page of referrers shows. */
export const MAX_REFERRERS_BYTES = 4 * 1024 * 1024;

/** `<artifact type>@<digest>`, as `last` has it. */
export function referrerPosition(after: string): ReferrerPosition {
  const separator = after.lastIndexOf('@');
  return { artifactType: after.slice(0, Math.max(0, separator)), digest: after.slice(separator + 1) };
}

export function referrerOf(row: ReferrerRow): Referrer {
  return {
    digest: row.digest,
    mediaType: row.media_type,
    size: row.size,
    artifactType: row.artifact_type,
    annotations: annotationsOf(row.text),
  };
}
