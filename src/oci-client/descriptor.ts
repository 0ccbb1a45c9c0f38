import { type Digest, digestOrUndefined, parseAnyDigest } from '../oci/digest.ts';
import { type MediaType, parseMediaType } from '../oci/media-type.ts';
import { ContentError } from './content-error.ts';

/** image-spec, "OCI Content Descriptors". Fields that mean nothing to this client are kept. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly os?: string; readonly architecture?: string; readonly variant?: string };
  readonly artifactType?: string;
}

export interface StoredManifest {
  readonly mediaType: MediaType;
  readonly digest: Digest;
  /** The document, exactly as it is stored. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The parts of a manifest, of any kind, that refer to other content. */
export interface ManifestLinks {
  /** The config and the layers; each digest once. */
  readonly blobs: readonly Descriptor[];
  /** The manifests of an index. */
  readonly children: readonly Descriptor[];
  readonly subject: Descriptor | undefined;
}

/** @throws Error naming the field, if the document is not a manifest */
export function linksOf({ bytes, digest }: Pick<StoredManifest, 'digest'> & { bytes: Uint8Array }): ManifestLinks {
  const where = `the manifest ${digest}`;
  const document = objectIn(bytes, where);
  const list = (field: string): unknown[] => (Array.isArray(document[field]) ? (document[field] as unknown[]) : []);
  const named = (field: string): unknown[] => (document[field] === undefined ? [] : [document[field]]);
  const blobs = [...named('config'), ...list('layers'), ...list('blobs')].map((value) => parseDescriptor(value, where));
  const children = list('manifests').map((value) => parseDescriptor(value, where));
  const subject = document['subject'] ?? undefined;
  return {
    blobs: [...new Map(blobs.map((blob) => [blob.digest, blob])).values()],
    children: [...new Map(children.map((child) => [child.digest, child])).values()],
    subject: subject === undefined ? undefined : parseDescriptor(subject, where),
  };
}

/** @param where names the document in error messages */
export function parseDescriptor(value: unknown, where: string): Descriptor {
  const { mediaType, digest, size } = (value ?? {}) as Record<string, unknown>;
  if (typeof mediaType !== 'string' || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new ContentError(`${where} has a descriptor without a valid media type or size`);
  }
  // Digests of all algorithms are read here. Content that can't be verified is refused where it is needed.
  if (digestOrUndefined(digest, parseAnyDigest) === undefined) {
    throw new ContentError(`${where} has a descriptor without a valid digest`);
  }
  return value as Descriptor;
}

/** Returns the media type of a document: its own field, or else the one that its descriptor or header gives. */
export function mediaTypeOf(bytes: Uint8Array, declared: string | undefined, where: string): MediaType {
  const own = objectIn(bytes, where)['mediaType'];
  const mediaType = parseMediaType(typeof own === 'string' ? own : declared);
  if (mediaType === undefined) throw new ContentError(`${where} does not say what media type it has`);
  return mediaType;
}

export function objectIn(bytes: Uint8Array, where: string): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof document === 'object' && document !== null) return document as Record<string, unknown>;
  } catch {
    // The error below says so.
  }
  throw new ContentError(`${where} is not a JSON object`);
}
