/**
 * The media type of a manifest whose document does not say it. A push of a live manifest under another type does not
 * change it; after a deletion, the next push decides.
 *
 * Two stores that have not heard of each other can give one manifest two types. So what is stored are claims: the
 * latest of the types that OCI's and Docker's images and indexes have, and the latest of all other types. Each merges
 * by taking the later one. A claim that is not later than the manifest's deletion does not count; of the others, a
 * manifest's type comes first. The SQL (`merge.ts`) is tested against this.
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

/** A version of 16 digits, the media type and the artifact type: the greater text is the later claim. '' for none. */
export type TypeClaim = string;

export interface TypeClaims {
  /** Of the media types of OCI's and Docker's images and indexes. */
  readonly typed: TypeClaim;
  /** Of all other media types. */
  readonly typedOtherwise: TypeClaim;
}

export const NO_CLAIMS: TypeClaims = { typed: '', typedOtherwise: '' };

/** Versions have 16 digits, and no more: `Number.MAX_SAFE_INTEGER` has as many. */
const VERSION_DIGITS = 16;

function claimOf(version: number, mediaType: string, artifactType: string): TypeClaim {
  return `${String(version).padStart(VERSION_DIGITS, '0')} ${mediaType} ${artifactType}`;
}

/** The claims after a push, which renews the type of a live manifest, and sets that of another. */
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

export function mergeClaims(a: TypeClaims, b: TypeClaims): TypeClaims {
  return { typed: later(a.typed, b.typed), typedOtherwise: later(a.typedOtherwise, b.typedOtherwise) };
}

/** What is served. A live manifest has a claim that counts; of a dead one, the latest. Undefined without any. */
export function typeOf(
  { typed, typedOtherwise }: TypeClaims,
  deleted: number,
): { readonly mediaType: MediaType; readonly artifactType: string } | undefined {
  const claim = [typed, typedOtherwise].find((each) => versionOf(each) > deleted) ?? later(typed, typedOtherwise);
  if (claim === '') return undefined;
  const [mediaType = '', ...artifactType] = claim.slice(VERSION_DIGITS + 1).split(' ');
  return { mediaType: mediaType as MediaType, artifactType: artifactType.join(' ') };
}

/** The version of the push; 0 for no claim. */
export function versionOf(claim: TypeClaim): number {
  return Number(claim.slice(0, VERSION_DIGITS));
}

function later(a: TypeClaim, b: TypeClaim): TypeClaim {
  return a > b ? a : b;
}

/** SQL that holds for the media types whose claims are `typed`. */
export const IS_OF_MANIFEST = (mediaType: string): string =>
  `lower(${mediaType}) IN ('${OCI_IMAGE_MANIFEST}', '${OCI_IMAGE_INDEX}', '${DOCKER_MANIFEST}', '${DOCKER_MANIFEST_LIST}')`;

/** SQL of a claim. */
export const CLAIM = (version: string, mediaType: string, artifactType: string): string =>
  `(printf('%0${String(VERSION_DIGITS)}d', ${version}) || ' ' || ${mediaType} || ' ' || ${artifactType})`;

const CLAIM_VERSION = (claim: string): string => `CAST(substr(${claim}, 1, ${String(VERSION_DIGITS)}) AS INTEGER)`;
const CLAIM_TYPES = (claim: string): string => `substr(${claim}, ${String(VERSION_DIGITS + 2)})`;
/** Of the row `manifests`. */
const COUNTING_TYPES = CLAIM_TYPES(`CASE WHEN ${CLAIM_VERSION('typed')} > deleted_version THEN typed
  WHEN ${CLAIM_VERSION('typed_otherwise')} > deleted_version THEN typed_otherwise ELSE max(typed, typed_otherwise) END`);

/** SQL of {@link typeOf}, of the row `manifests`, which has a claim. */
export const MEDIA_TYPE = `substr(${COUNTING_TYPES}, 1, instr(${COUNTING_TYPES}, ' ') - 1)`;
export const ARTIFACT_TYPE = `substr(${COUNTING_TYPES}, instr(${COUNTING_TYPES}, ' ') + 1)`;
