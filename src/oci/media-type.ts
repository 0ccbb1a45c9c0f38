declare const brand: unique symbol;

/** `type/subtype` by RFC 6838 §4.2, without parameters. */
export type MediaType = string & { readonly [brand]: 'MediaType' };

/** Two restricted names of at most 127 characters, and the slash (RFC 6838 §4.2). */
export const MAX_MEDIA_TYPE_LENGTH = 255;

const RESTRICTED_NAME = '[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}';
const MEDIA_TYPE = new RegExp(`^${RESTRICTED_NAME}/${RESTRICTED_NAME}$`);

/** The media type of a Content-Type header or a `mediaType` field, its parameters dropped; undefined where there is none. */
export function parseMediaType(text: string | undefined): MediaType | undefined {
  const bare = text?.split(';', 1)[0]?.trim() ?? '';
  return MEDIA_TYPE.test(bare) ? (bare as MediaType) : undefined;
}

export const OCI_IMAGE_MANIFEST = 'application/vnd.oci.image.manifest.v1+json' as MediaType;
export const OCI_IMAGE_INDEX = 'application/vnd.oci.image.index.v1+json' as MediaType;
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json' as MediaType;
export const DOCKER_MANIFEST_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json' as MediaType;

const DOCKER_SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/;

export function isDockerSchema1(mediaType: MediaType): boolean {
  return DOCKER_SCHEMA_1.test(mediaType);
}

/** Layers whose bytes a registry may lack: image-spec "Non-Distributable Layers", and Docker's foreign layers. */
export function isNonDistributable(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.v1.') ||
    mediaType === 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' ||
    mediaType === 'application/vnd.docker.image.rootfs.foreign.diff.tar'
  );
}
