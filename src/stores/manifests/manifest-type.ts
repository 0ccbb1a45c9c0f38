/**
 * The media type of a manifest whose document does not state it. Pushing a live manifest again with another type does
 * not change its type; after a deletion, the next push decides.
 *
 * Two stores that have not exchanged their writes can give one manifest two types. So the row stores claims: the latest
 * claim to a type of OCI's or Docker's images and indexes, and the latest claim to any other type. Each merges by
 * taking the later claim. A claim that is not later than the manifest's deletion does not count. If both count, the
 * first of the two decides. The SQL (`merge.ts`) is tested against these functions.
 */
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  type MediaType,
  OCI_IMAGE_INDEX,
  OCI_IMAGE_MANIFEST,
  shapeOf,
} from '../../oci/media-type.ts';
import { isAlive, type ManifestVersions } from '../versions.ts';

/**
 * A version of 16 digits, the media type and the artifact type, separated by spaces. The greater text is the later
 * claim; '' for none.
 */
export type TypeClaim = string;

export interface TypeClaims {
  /** The latest claim to a media type of OCI's or Docker's images and indexes. */
  readonly typed: TypeClaim;
  /** The latest claim to any other media type. */
  readonly typedOtherwise: TypeClaim;
}

export const NO_CLAIMS: TypeClaims = { typed: '', typedOtherwise: '' };

/** The digits of a version: no more than those of `Number.MAX_SAFE_INTEGER`. */
const VERSION_DIGITS = 16;

function claimOf(version: number, mediaType: string, artifactType: string): TypeClaim {
  return `${String(version).padStart(VERSION_DIGITS, '0')} ${mediaType} ${artifactType}`;
}

/** Returns the claims after a push. The push renews the type of a live manifest, and sets the type of any other. */
export function claimsAfterPush(
  known: ManifestVersions & TypeClaims,
  version: number,
  pushed: { readonly mediaType: MediaType; readonly artifactType: string },
): TypeClaims {
  const { mediaType, artifactType } = (isAlive(known) ? typeOf(known, known.deleted) : undefined) ?? pushed;
  const claim = claimOf(version, mediaType, artifactType);
  return shapeOf(mediaType) === 'other'
    ? { typed: known.typed, typedOtherwise: claim }
    : { typed: claim, typedOtherwise: known.typedOtherwise };
}

/** Takes the later claim of each kind. */
export function mergeClaims(a: TypeClaims, b: TypeClaims): TypeClaims {
  return { typed: later(a.typed, b.typed), typedOtherwise: later(a.typedOtherwise, b.typedOtherwise) };
}

/**
 * Returns the type that is served: a live manifest's claim that counts, or a dead one's latest. Undefined if there is
 * no claim.
 * @param deleted the version of the manifest's last deletion; 0 for never
 */
export function typeOf(
  { typed, typedOtherwise }: TypeClaims,
  deleted: number,
): { readonly mediaType: MediaType; readonly artifactType: string } | undefined {
  const claim = [typed, typedOtherwise].find((each) => versionOf(each) > deleted) ?? later(typed, typedOtherwise);
  if (claim === '') return undefined;
  const [mediaType = '', ...artifactType] = claim.slice(VERSION_DIGITS + 1).split(' ');
  return { mediaType: mediaType as MediaType, artifactType: artifactType.join(' ') };
}

/** Returns the version of the push that made a claim; 0 for no claim. */
export function versionOf(claim: TypeClaim): number {
  return Number(claim.slice(0, VERSION_DIGITS));
}

function later(a: TypeClaim, b: TypeClaim): TypeClaim {
  return a > b ? a : b;
}

/** SQL that holds for the media types whose claims go to `typed`. */
export const IS_OF_MANIFEST = (mediaType: string): string =>
  `lower(${mediaType}) IN (
    '${OCI_IMAGE_MANIFEST}', '${OCI_IMAGE_INDEX}', '${DOCKER_MANIFEST}', '${DOCKER_MANIFEST_LIST}')`;

/** SQL for a claim. */
export const CLAIM = (version: string, mediaType: string, artifactType: string): string =>
  `(printf('%0${String(VERSION_DIGITS)}d', ${version}) || ' ' || ${mediaType} || ' ' || ${artifactType})`;

const CLAIM_VERSION = (claim: string): string => `CAST(substr(${claim}, 1, ${String(VERSION_DIGITS)}) AS INTEGER)`;
const CLAIM_TYPES = (claim: string): string => `substr(${claim}, ${String(VERSION_DIGITS + 2)})`;
/** SQL for the types of the claim that counts, in a row of `manifests`. */
const COUNTING_TYPES = CLAIM_TYPES(`CASE WHEN ${CLAIM_VERSION('typed')} > deleted_version THEN typed
  WHEN ${CLAIM_VERSION('typed_otherwise')} > deleted_version THEN typed_otherwise
  ELSE max(typed, typed_otherwise) END`);

/** SQL for {@link typeOf}, in a row of `manifests` that has a claim. */
export const MEDIA_TYPE = `substr(${COUNTING_TYPES}, 1, instr(${COUNTING_TYPES}, ' ') - 1)`;
export const ARTIFACT_TYPE = `substr(${COUNTING_TYPES}, instr(${COUNTING_TYPES}, ' ') + 1)`;
