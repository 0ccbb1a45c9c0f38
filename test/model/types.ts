/** Media types, where a manifest's document does not say its own: what `manifest-type.ts` of src/stores decides. */
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

/** A manifest's row; without claims where types are not explored, and in a deletion. */
export interface Lifecycle extends ManifestVersions {
  readonly claims?: TypeClaims;
}

export function mergeLifecycles(a: Lifecycle, b: Lifecycle): Lifecycle {
  const merged = mergeManifests(a, b);
  if (a.claims === undefined && b.claims === undefined) return merged;
  return { ...merged, claims: mergeClaims(a.claims ?? NO_CLAIMS, b.claims ?? NO_CLAIMS) };
}

/** What a push adds to a row. */
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
