declare const brand: unique symbol;

/** `type/subtype` by RFC 6838 §4.2, without parameters. */
export type MediaType = string & { readonly [brand]: 'MediaType' };

/** Two restricted names of at most 127 characters each, and a slash (RFC 6838 §4.2). */
export const MAX_MEDIA_TYPE_LENGTH = 255;

const RESTRICTED_NAME = '[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}';
const MEDIA_TYPE = new RegExp(`^${RESTRICTED_NAME}/${RESTRICTED_NAME}$`);

/**
 * Parses the media type of a Content-Type header or a `mediaType` field, without its parameters. Returns undefined if
 * the text is not a media type.
 */
export function parseMediaType(text: string | undefined): MediaType | undefined {
  const bare = text?.split(';', 1)[0]?.trim() ?? '';
  return MEDIA_TYPE.test(bare) ? (bare as MediaType) : undefined;
}

export const OCI_IMAGE_MANIFEST = 'application/vnd.oci.image.manifest.v1+json' as MediaType;
export const OCI_IMAGE_INDEX = 'application/vnd.oci.image.index.v1+json' as MediaType;
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json' as MediaType;
export const DOCKER_MANIFEST_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json' as MediaType;

/** Compares media types without regard to case (RFC 9110 §8.3.1). They are still served as they were pushed. */
export function isSameMediaType(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

/** Returns what a document of this media type is: an image, an index, or something that only its own clients know. */
export function shapeOf(mediaType: MediaType): 'image' | 'index' | 'other' {
  if (isSameMediaType(mediaType, OCI_IMAGE_MANIFEST) || isSameMediaType(mediaType, DOCKER_MANIFEST)) return 'image';
  if (isSameMediaType(mediaType, OCI_IMAGE_INDEX) || isSameMediaType(mediaType, DOCKER_MANIFEST_LIST)) return 'index';
  return 'other';
}

/**
 * Returns whether a manifest cannot have this media type. HTTP clients send these types for a body that they know
 * nothing about. Any other type is accepted, because artifacts define types of their own.
 */
export function isNoManifest(mediaType: MediaType): boolean {
  return /^(?:application\/(?:x-www-form-urlencoded|octet-stream)|(?:multipart|text)\/.*)$/i.test(mediaType);
}

const DOCKER_SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/i;

export function isDockerSchema1(mediaType: MediaType): boolean {
  return DOCKER_SCHEMA_1.test(mediaType);
}

/**
 * Returns whether a registry may lack the bytes of layers of this type: image-spec "Non-Distributable Layers", and
 * Docker's foreign layers.
 */
export function isNonDistributable(mediaType: string): boolean {
  const type = mediaType.toLowerCase();
  return (
    type.startsWith('application/vnd.oci.image.layer.nondistributable.v1.') ||
    type === 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' ||
    type === 'application/vnd.docker.image.rootfs.foreign.diff.tar'
  );
}
