/**
 * Reads which blobs and manifests a manifest references. Nothing here changes the bytes, which are stored and served as
 * pushed.
 *
 * - OCI images and Docker schema 2 images must have a config and layers. Indexes and manifest lists must have a list of
 *   manifests. All of them, and documents of any type that have a subject, must follow `manifest-schema.ts`.
 * - A document that is both an image and an index is refused: two readers could see two different things
 *   (GHSA-qq97-vm5h-rrhg).
 * - Any other document is stored as pushed. Its descriptors in the usual places are recorded, so that the content that
 *   they name is not collected. That content need not exist.
 */
import { type Digest, digestOrUndefined, parseAnyDigest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';
import { parseWithIntegers } from './json-integers.ts';
import { jsonExcess } from './json-limits.ts';
import { MAX_DEPTH, MAX_REFERENCES, MAX_VALUES } from './manifest-limits.ts';
import { ambiguousName, type Fault, faultOf, INTEGERS, isObject } from './manifest-schema.ts';
import {
  isDockerSchema1,
  isNonDistributable,
  isNoManifest,
  isSameMediaType,
  MAX_MEDIA_TYPE_LENGTH,
  type MediaType,
  parseMediaType,
  shapeOf,
} from './media-type.ts';

/** `layer` also covers the `blobs` of documents of other media types. */
type ReferenceKind = 'config' | 'layer' | 'child' | 'subject';

export interface ManifestReference {
  readonly kind: ReferenceKind;
  readonly digest: Digest;
  /** Bytes, according to the descriptor; null if it gives no valid size. */
  readonly size: number | null;
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
  /**
   * The type that the referrers API shows: the manifest's artifactType or, for an image without one, the media type of
   * its config; '' for none.
   */
  readonly artifactType: string;
}

/**
 * Parses a pushed manifest.
 * @param bytes at most `MAX_MANIFEST_BYTES`
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
  const shape = shapeOf(mediaType);
  const isTyped = shape !== 'other' || (document['subject'] !== undefined && document['subject'] !== null);
  const fault = isTyped ? faultOf(mediaType, document) : undefined;
  refuse(ambiguousName(document, READ_BY_ALL, '') ?? fault);
  const descriptors = descriptorsIn(document, shape, isTyped ? strictDescriptor : lenientDescriptor);
  if (descriptors.length > MAX_REFERENCES) throw invalid(`the manifest has more than ${MAX_REFERENCES} descriptors`);
  requireOneSize(descriptors);
  const manifest = manifestOf(text, mediaType, document, descriptors);
  if (manifest.artifactType.length > MAX_MEDIA_TYPE_LENGTH)
    throw invalid('the artifact type is too long for a media type');
  return manifest;
}

/**
 * Reads a manifest that was accepted earlier. The rules for a push are not checked again, because they may have changed
 * since. An unreadable descriptor is left out, and an unreadable size is null.
 * @throws OciError MANIFEST_INVALID if parsing it would cost too much
 */
export function readStoredManifest(text: string, mediaType: MediaType): Manifest {
  const document = parseObject(text);
  return manifestOf(text, mediaType, document, descriptorsIn(document, shapeOf(mediaType), lenientDescriptor));
}

/** Returns the `annotations` of a stored manifest, for its entry in a list of referrers; undefined if it has none. */
export function annotationsOf(text: string): Record<string, unknown> | undefined {
  const annotations: unknown = (JSON.parse(withoutByteOrderMark(text)) as Record<string, unknown>)['annotations'];
  return isObject(annotations) ? annotations : undefined;
}

/** Fields that decide what a document is, whatever its media type. Two readers must not see two different documents. */
const READ_BY_ALL = ['config', 'layers', 'manifests', 'subject', 'mediaType'];

interface Descriptor extends ManifestReference {
  readonly mediaType: string;
}

function decode(bytes: Uint8Array): string {
  try {
    // Keep a byte-order mark: without it the stored text would hash to another digest.
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
    document = parseWithIntegers(withoutByteOrderMark(text), INTEGERS);
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
  const mediaType = namedMediaType(document, contentType);
  if (isNoManifest(mediaType)) {
    throw invalid(`${mediaType} is not the media type of a manifest: send the manifest's own as Content-Type`);
  }
  return mediaType;
}

function namedMediaType(document: Record<string, unknown>, contentType: string | undefined): MediaType {
  const declared = parseMediaType(contentType);
  if (contentType !== undefined && declared === undefined) throw invalid('the Content-Type is not a media type');
  const field = document['mediaType'];
  if (field === undefined) {
    if (declared === undefined) throw invalid('the manifest needs a Content-Type');
    return declared;
  }
  const own = typeof field === 'string' ? parseMediaType(field) : undefined;
  if (own === undefined) throw invalid('the field "mediaType" is not a media type');
  if (declared !== undefined && !isSameMediaType(own, declared)) {
    throw invalid(`the Content-Type ${declared} differs from the field "mediaType", ${own}`);
  }
  return own;
}

function descriptorsIn(
  document: Record<string, unknown>,
  shape: ReturnType<typeof shapeOf>,
  read: typeof strictDescriptor,
): Descriptor[] {
  return [
    ...descriptorsOf(document, 'config', 'config', read),
    ...descriptorsOf(document, 'layers', 'layer', read),
    ...descriptorsOf(document, 'manifests', 'child', read),
    ...(shape === 'other' ? descriptorsOf(document, 'blobs', 'layer', read) : []),
    ...descriptorsOf(document, 'subject', 'subject', read),
  ];
}

function manifestOf(
  text: string,
  mediaType: MediaType,
  document: Record<string, unknown>,
  descriptors: readonly Descriptor[],
): Manifest {
  const isImage = shapeOf(mediaType) === 'image';
  const references = distinct(descriptors, ({ kind, digest }) => `${kind} ${digest}`);
  const blobs = descriptors.filter(
    ({ kind, mediaType: type }) => isImage && (kind === 'config' || (kind === 'layer' && !isNonDistributable(type))),
  );
  return {
    mediaType,
    text,
    references,
    requiredBlobs: [...new Set(blobs.map(({ digest }) => digest))],
    subject: references.find(({ kind }) => kind === 'subject')?.digest,
    artifactType: artifactTypeOf(document, isImage ? descriptors : []),
  };
}

function descriptorsOf(
  document: Record<string, unknown>,
  field: string,
  kind: ReferenceKind,
  read: typeof strictDescriptor,
): Descriptor[] {
  const value = document[field];
  const isList = kind === 'layer' || kind === 'child';
  if (isList !== Array.isArray(value)) return [];
  if (Array.isArray(value)) return value.flatMap((item, i) => read(item, kind, `${field}[${i}]`));
  return read(value, kind, field);
}

/** A subject need not be stored here, so its digest may have an algorithm that cannot be pushed. */
function parserOf(kind: ReferenceKind): typeof parseDigest {
  return kind === 'subject' ? parseAnyDigest : parseDigest;
}

/** Reads a descriptor that the schema has accepted. Returns an empty list for a null one. */
function strictDescriptor(value: unknown, kind: ReferenceKind, where: string): Descriptor[] {
  if (!isObject(value)) return [];
  const { digest, size, mediaType } = value as { digest: string; size: number; mediaType?: string | null };
  const parse = parserOf(kind);
  return [{ kind, digest: parse(digest, `the digest of ${where}`), size, mediaType: mediaType ?? '' }];
}

function lenientDescriptor(value: unknown, kind: ReferenceKind): Descriptor[] {
  if (!isObject(value)) return [];
  const digest = digestOrUndefined(value['digest'], parserOf(kind));
  if (digest === undefined) return [];
  const { size, mediaType } = value;
  return [
    {
      kind,
      digest,
      size: typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : null,
      mediaType: typeof mediaType === 'string' ? mediaType : '',
    },
  ];
}

function artifactTypeOf(document: Record<string, unknown>, descriptors: readonly Descriptor[]): string {
  const own = document['artifactType'];
  return typeof own === 'string' && own !== ''
    ? own
    : (descriptors.find(({ kind }) => kind === 'config')?.mediaType ?? '');
}

/** Refuses a manifest that gives one digest two sizes: a digest stands for one content, which has one length. */
function requireOneSize(descriptors: readonly Descriptor[]): void {
  const sizes = new Map<Digest, number>();
  for (const { digest, size } of descriptors) {
    const known = size === null ? undefined : sizes.get(digest);
    if (known !== undefined && known !== size) {
      throw invalid(`the manifest gives ${digest} two sizes, ${known} and ${size}: correct one of them`);
    }
    if (size !== null) sizes.set(digest, size);
  }
}

function distinct<Item>(items: readonly Item[], key: (item: Item) => string): Item[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}

/** @throws OciError MANIFEST_INVALID, naming the field */
function refuse(fault: Fault | undefined): void {
  if (fault === undefined) return;
  const { path, problem } = fault;
  throw new OciError('MANIFEST_INVALID', { message: `the field "${path}" ${problem}`, detail: { field: path } });
}

function invalid(message: string, cause?: unknown): OciError {
  return new OciError('MANIFEST_INVALID', { message, cause });
}
