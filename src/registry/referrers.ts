import { annotationsOf } from '../oci/manifest.ts';
import type { ReferrerPosition, ReferrerRow } from '../stores/list-rows.ts';
import type { Referrer } from './registry.ts';

/** The most bytes of manifests that one page of referrers reads to show their annotations. */
export const MAX_REFERRERS_BYTES = 4 * 1024 * 1024;

/** Parses a position in a list of referrers: `<artifact type>@<digest>`. */
export function referrerPosition(after: string): ReferrerPosition {
  const separator = after.lastIndexOf('@');
  return { artifactType: after.slice(0, Math.max(0, separator)), digest: after.slice(separator + 1) };
}

/** Returns the position of a referrer in its list. */
export function positionOf({ artifact_type: type, digest }: ReferrerRow): string {
  return `${type}@${digest}`;
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
