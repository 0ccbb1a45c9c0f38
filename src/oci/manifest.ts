/**
 * Manifests as a registry sees them: which blobs and manifests they reference. The bytes are what is stored and
 * served; nothing here changes them.
 *
 * - OCI images and Docker schema 2 must have a config and layers; indexes and manifest lists a list of manifests.
 * - A document that is both image and index is refused: two readers would see two things (GHSA-qq97-vm5h-rrhg).
 * - Any other media type is stored as pushed. Descriptors found in the usual places are still recorded, so that
 *   what they name is not collected, but need not exist.
 */
import { type Digest, digestOrUndefined, parseAnyDigest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';
import { jsonExcess } from './json-limits.ts';
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  isDockerSchema1,
  isNonDistributable,
  MAX_MEDIA_TYPE_LENGTH,
  type MediaType,
  OCI_IMAGE_INDEX,
  OCI_IMAGE_MANIFEST,
  parseMediaType,
} from './media-type.ts';

/** Largest manifest accepted, in bytes. The spec asks for 4 MB at least ("Pushing Manifests"). */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Most descriptors in one manifest. */
export const MAX_REFERENCES = 4096;
/** Deepest nesting of a manifest's JSON. Real ones stay below 10. */
export const MAX_DEPTH = 64;
/** Values of a manifest's JSON, of all kinds. 4,096 descriptors with annotations stay far below. */
export const MAX_VALUES = 200_000;

/** `layer` also stands for the blobs of documents of other media types. */
export type ReferenceKind = 'config' | 'layer' | 'child' | 'subject';

export interface ManifestReference {
  readonly kind: ReferenceKind;
  readonly digest: Digest;
  /** Bytes, as the descriptor says; 0 where it does not. */
  readonly size: number;
}

export interface Manifest {
  readonly mediaType: MediaType;
  /** The document, exactly as pushed: `new TextEncoder().encode(text)` gives the same bytes. */
  readonly text: string;
  /** Distinct by kind and digest. */
  readonly references: readonly ManifestReference[];
  /** Blobs that the repository must have before the manifest is accepted. Distinct. */
  readonly requiredBlobs: readonly Digest[];
  readonly subject: Digest | undefined;
  /** What the referrers API shows: the manifest's own artifactType, else (images only) the config's media type; '' for none. */
  readonly artifactType: string;
}

/**
 * Parses a pushed manifest.
 * @param bytes at most {@link MAX_MANIFEST_BYTES}
 * @param contentType the request's Content-Type, if any
 * @throws OciError MANIFEST_INVALID, DIGEST_INVALID
 */
export function parseManifest(bytes: Uint8Array, contentType: string | undefined): Manifest {
  const text = decode(bytes);
  const document = parseObject(text);
  const mediaType = mediaTypeOf(document, contentType);
  if (isDockerSchema1(mediaType) || document['schemaVersion'] === 1) {
    throw invalid('Docker schema 1 manifests are not supported: push with a newer client');
  }
  if (document['manifests'] !== undefined && (document['layers'] !== undefined || document['config'] !== undefined)) {
    throw invalid('the document is both an image and an index: it may have "layers" and "config", or "manifests"');
  }
  const variant = Object.keys(document).find((key) => (FIELDS.get(key.toLowerCase()) ?? key) !== key);
  if (variant !== undefined) throw invalid(`the field "${variant}" is ambiguous: some readers ignore the case of names`);
  const shape = shapeOf(mediaType);
  const descriptors = [
    ...descriptorsOf(document, 'config', 'config', shape === 'image' ? 'required' : shape),
    ...descriptorsOf(document, 'layers', 'layer', shape === 'image' ? 'required' : shape),
    ...descriptorsOf(document, 'manifests', 'child', shape === 'index' ? 'required' : shape),
    ...(shape === 'other' ? descriptorsOf(document, 'blobs', 'layer', shape) : []),
    ...descriptorsOf(document, 'subject', 'subject', shape),
  ];
  if (descriptors.length > MAX_REFERENCES) throw invalid(`the manifest has more than ${MAX_REFERENCES} descriptors`);
  const references = distinct(descriptors, ({ kind, digest }) => `${kind} ${digest}`);
  const blobs = descriptors.filter(
    ({ kind, mediaType: type }) => shape === 'image' && (kind === 'config' || (kind === 'layer' && !isNonDistributable(type))),
  );
  return {
    mediaType,
    text,
    references,
    requiredBlobs: [...new Set(blobs.map(({ digest }) => digest))],
    subject: references.find(({ kind }) => kind === 'subject')?.digest,
    artifactType: artifactTypeOf(document, shape === 'image' ? descriptors : []),
  };
}

/** The `annotations` of a stored manifest, for its entry in a list of referrers; undefined where it has none. */
export function annotationsOf(text: string): Record<string, unknown> | undefined {
  const annotations: unknown = (JSON.parse(withoutByteOrderMark(text)) as Record<string, unknown>)['annotations'];
  return isObject(annotations) ? annotations : undefined;
}

/** Names, by their lower case, that must not come in another case: then two readers would see two documents. */
const FIELDS: ReadonlyMap<string, string> = new Map(
  ['config', 'layers', 'manifests', 'subject', 'mediaType'].map((name) => [name.toLowerCase(), name]),
);

interface Descriptor extends ManifestReference {
  readonly mediaType: string;
}

type Shape = 'image' | 'index' | 'other';

function shapeOf(mediaType: MediaType): Shape {
  if (mediaType === OCI_IMAGE_MANIFEST || mediaType === DOCKER_MANIFEST) return 'image';
  if (mediaType === OCI_IMAGE_INDEX || mediaType === DOCKER_MANIFEST_LIST) return 'index';
  return 'other';
}

function decode(bytes: Uint8Array): string {
  try {
    // A byte-order mark is kept: without it the stored text would hash to another digest.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw invalid('the manifest is not valid UTF-8', cause);
  }
}

function parseObject(text: string): Record<string, unknown> {
  const excess = jsonExcess(text, MAX_DEPTH, MAX_VALUES);
  if (excess === 'depth') throw invalid(`the manifest nests deeper than ${MAX_DEPTH} levels`);
  if (excess === 'values') throw invalid(`the manifest has more than ${MAX_VALUES} values`);
  let document: unknown;
  try {
    document = JSON.parse(withoutByteOrderMark(text));
  } catch (cause) {
    throw invalid('the manifest is not valid JSON', cause);
  }
  if (!isObject(document)) throw invalid('the manifest is not a JSON object');
  return document;
}

function withoutByteOrderMark(text: string): string {
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
}

function mediaTypeOf(document: Record<string, unknown>, contentType: string | undefined): MediaType {
  const declared = parseMediaType(contentType);
  if (contentType !== undefined && declared === undefined) throw invalid('the Content-Type is not a media type');
  const field = document['mediaType'];
  if (field === undefined) {
    if (declared === undefined) throw invalid('the manifest needs a Content-Type');
    return declared;
  }
  const own = typeof field === 'string' ? parseMediaType(field) : undefined;
  if (own === undefined) throw invalid('the field "mediaType" is not a media type');
  if (declared !== undefined && own !== declared) {
    throw invalid(`the Content-Type ${declared} differs from the field "mediaType", ${own}`);
  }
  return own;
}

function descriptorsOf(
  document: Record<string, unknown>,
  field: string,
  kind: ReferenceKind,
  shape: Shape | 'required',
): Descriptor[] {
  const value = document[field];
  if (value === undefined || value === null) {
    if (shape === 'required') throw invalid(`the field "${field}" is missing`);
    return [];
  }
  const single = kind === 'config' || kind === 'subject';
  if (single === Array.isArray(value)) {
    if (shape === 'other') return [];
    throw invalid(`the field "${field}" must be ${single ? 'a descriptor' : 'a list of descriptors'}`);
  }
  const values: unknown[] = Array.isArray(value) ? value : [value];
  return values.flatMap((item, i) => {
    if (shape === 'other' && kind !== 'subject') return lenientDescriptor(item, kind);
    return [strictDescriptor(item, kind, single ? field : `${field}[${i}]`)];
  });
}

function strictDescriptor(value: unknown, kind: ReferenceKind, where: string): Descriptor {
  if (!isObject(value)) throw invalid(`${where} is not a descriptor`);
  const { digest, size, mediaType } = value;
  if (typeof digest !== 'string') throw invalid(`${where} has no digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw invalid(`${where} has no valid size`);
  if (mediaType !== undefined && typeof mediaType !== 'string') throw invalid(`the mediaType of ${where} is not a string`);
  // A subject need not be here, so it need not be of what can be pushed here.
  const parse = kind === 'subject' ? parseAnyDigest : parseDigest;
  return { kind, digest: parse(digest, `the digest of ${where}`), size, mediaType: mediaType ?? '' };
}

function lenientDescriptor(value: unknown, kind: ReferenceKind): Descriptor[] {
  if (!isObject(value)) return [];
  const digest = digestOrUndefined(value['digest']);
  if (digest === undefined) return [];
  const { size, mediaType } = value;
  return [
    {
      kind,
      digest,
      size: typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : 0,
      mediaType: typeof mediaType === 'string' ? mediaType : '',
    },
  ];
}

function artifactTypeOf(document: Record<string, unknown>, descriptors: readonly Descriptor[]): string {
  const own = document['artifactType'];
  const type = typeof own === 'string' && own !== '' ? own : (descriptors.find(({ kind }) => kind === 'config')?.mediaType ?? '');
  if (type.length > MAX_MEDIA_TYPE_LENGTH) throw invalid('the artifact type is too long for a media type');
  return type;
}

function distinct<Item>(items: readonly Item[], key: (item: Item) => string): Item[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(message: string, cause?: unknown): OciError {
  return new OciError('MANIFEST_INVALID', { message, cause });
}
