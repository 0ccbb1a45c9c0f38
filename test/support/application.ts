/** Images as Unikraft's tools make them: an index of one manifest, with uncompressed layers of one file each. */

export interface Piece {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The repository that the tools have read this layer from. When they push it to another, they ask for a mount. */
  readonly from?: string;
}

export interface Application {
  readonly layers: readonly Piece[];
  readonly config: Piece;
  readonly manifest: Piece;
  readonly index: Piece;
}

export interface Parts {
  readonly kernel?: { readonly bytes: Uint8Array<ArrayBuffer>; readonly from?: string };
  readonly rootfs?: Uint8Array<ArrayBuffer>;
  readonly rom?: Uint8Array<ArrayBuffer>;
}

const OCI = 'application/vnd.oci.image';
const TAR = `${OCI}.layer.v1.tar`;
export const ROM = 'application/vnd.unikraft.rom.v1';

/** The platform, which is stated in the index and again in the config's descriptor. */
const PLATFORM = {
  architecture: 'x86_64',
  os: 'kraftcloud',
  'os.features': ['CONFIG_LIBUKBUS_PCI=y', 'CONFIG_LIBUKNETDEV=y', 'CONFIG_PAGING=y'],
};

export async function applicationOf({ kernel, rootfs, rom }: Parts): Promise<Application> {
  const layers = [
    ...(kernel === undefined
      ? []
      : [await layerOf(TAR, kernel.bytes, ['org.unikraft.kernel.image', '/unikraft/bin/kernel'], kernel.from)]),
    ...(rootfs === undefined
      ? []
      : [await layerOf(TAR, rootfs, ['org.unikraft.kernel.initrd', '/unikraft/bin/initrd'])]),
    ...(rom === undefined ? [] : [await layerOf(ROM, rom)]),
  ];
  const config = await document(`${OCI}.config.v1+json`, {
    ...PLATFORM,
    rootfs: { type: 'layers', diff_ids: layers.map(({ piece }) => piece.digest) },
    config: { Cmd: ['/init'] },
  });
  const manifest = await document(`${OCI}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: { ...descriptorOf(config), platform: PLATFORM },
    layers: layers.map(({ piece, annotations }) => ({ ...descriptorOf(piece), ...(annotations && { annotations }) })),
  });
  const index = await document(`${OCI}.index.v1+json`, {
    schemaVersion: 2,
    mediaType: `${OCI}.index.v1+json`,
    manifests: [{ ...descriptorOf(manifest), platform: PLATFORM }],
  });
  return { layers: layers.map(({ piece }) => piece), config, manifest, index };
}

/** Returns the bytes that a push sends to a registry that has none of the pieces. */
export function bytesOfPieces(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
}

export async function pieceOf(mediaType: string, bytes: Uint8Array<ArrayBuffer>): Promise<Piece> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return { mediaType, bytes, digest: `sha256:${hex}` };
}

async function layerOf(
  mediaType: string,
  bytes: Uint8Array<ArrayBuffer>,
  annotation?: readonly [name: string, path: string],
  from?: string,
) {
  const piece: Piece = { ...(await pieceOf(mediaType, bytes)), ...(from !== undefined && { from }) };
  return { piece, annotations: annotation && { [annotation[0]]: annotation[1] } };
}

function document(mediaType: string, fields: object): Promise<Piece> {
  return pieceOf(mediaType, Uint8Array.from(new TextEncoder().encode(JSON.stringify(fields))));
}

function descriptorOf({ mediaType, digest, bytes }: Piece) {
  return { mediaType, digest, size: bytes.byteLength };
}
