/** Media types of manifests that do not state their own, as `manifest-type.ts` of src/stores decides them. */
import { type MediaType, OCI_IMAGE_MANIFEST } from '../../src/oci/media-type.ts';
import {
  claimsAfterPush,
  mergeClaims,
  NO_CLAIMS,
  type TypeClaims,
  typeOf,
} from '../../src/stores/manifests/manifest-type.ts';
import { type ManifestVersions, mergeManifests } from '../../src/stores/versions.ts';
import type { Mutation } from './mutations.ts';

export const TYPES = [OCI_IMAGE_MANIFEST, 'application/json' as MediaType] as const;

/** A manifest's row. It has no claims in a deletion, or if types are not explored. */
export interface Lifecycle extends ManifestVersions {
  readonly claims?: TypeClaims;
}

export function mergeLifecycles(a: Lifecycle, b: Lifecycle): Lifecycle {
  const merged = mergeManifests(a, b);
  if (a.claims === undefined && b.claims === undefined) return merged;
  return { ...merged, claims: mergeClaims(a.claims ?? NO_CLAIMS, b.claims ?? NO_CLAIMS) };
}

/** Returns the claims of a row after a push. */
export function claimed(
  mutation: Mutation | undefined,
  known: Lifecycle,
  version: number,
  mediaType: MediaType,
): Pick<Lifecycle, 'claims'> {
  const claims = known.claims ?? NO_CLAIMS;
  const { created, deleted } = mutation === 'push-retypes' ? { created: 0, deleted: 0 } : known;
  const after = claimsAfterPush({ created, deleted, ...claims }, version, { mediaType, artifactType: '' });
  if (mutation !== 'later-type') return { claims: after };
  return {
    claims: { typed: after.typed > after.typedOtherwise ? after.typed : after.typedOtherwise, typedOtherwise: '' },
  };
}

export function servedType(mutation: Mutation | undefined, { claims, deleted }: Lifecycle): MediaType | undefined {
  return claims && typeOf(claims, mutation === 'dead-type' ? 0 : deleted)?.mediaType;
}
