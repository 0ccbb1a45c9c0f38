/** Requests to the platform API, and images as Unikraft's tools push them. */
import { type Digest } from '../../src/oci/digest.ts';
import { call, type CallOptions, type User, type UserName, USERS } from './client.ts';
import { putBlob, putManifest } from './content.ts';
import { bytesOf, documentOf, type Image } from './fixture.ts';

/** Returns the Authorization header of a whole platform token. */
export function whole({ name, password }: User): { readonly authorization: string } {
  return { authorization: `Bearer ${btoa(`${name}:${password}`)}` };
}

export function wholeOf(user: UserName): { readonly authorization: string } {
  return whole(USERS[user]);
}

export interface CentralImage {
  readonly name: string;
  readonly tags: readonly {
    readonly name: string;
    readonly digest: string;
    readonly size: number;
    readonly push_time: string;
  }[];
}

export interface NodeImage {
  readonly url: string;
  readonly tags: readonly string[];
  readonly size_in_bytes: number;
  readonly created_at: string;
  readonly initrd_or_rom: boolean;
  readonly args: readonly string[];
  readonly env: object;
  readonly users: readonly string[];
}

export interface OldImage {
  readonly status: string;
  readonly digest: string;
  readonly tags: readonly string[];
  readonly initrd: boolean;
  readonly size_in_bytes: number;
}

/** Returns the images of an answer. @throws if the answer is not a success */
export async function imagesIn<Listed>(response: Response): Promise<Listed[]> {
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  const body = JSON.parse(text) as { status: string; data: { images: Listed[] } };
  if (body.status !== 'success' || Object.keys(body.data).join() !== 'images') throw new Error(text);
  return body.data.images;
}

const TAR = 'application/vnd.oci.image.layer.v1.tar';

/** The kinds of layers, as descriptors state them. */
export const LAYERS = {
  kernel: { mediaType: TAR, annotations: { 'org.unikraft.kernel.image': '/unikraft/bin/kernel' } },
  initrd: { mediaType: TAR, annotations: { 'org.unikraft.kernel.initrd': '/unikraft/bin/initrd' } },
  rom: { mediaType: 'application/vnd.unikraft.rom.v1' },
  plain: { mediaType: TAR },
} as const;

export interface Part {
  readonly layer: keyof typeof LAYERS;
  readonly seed: number;
  readonly bytes: number;
}

const CONFIG_BYTES = 30;

/** Pushes the parts and a config of 30 bytes, and returns a manifest of them, which is not pushed. */
export async function unikernel(
  repository: string,
  parts: readonly Part[],
  options: CallOptions = { as: 'alice' },
): Promise<Image> {
  const seed = parts[0]?.seed ?? 0;
  const config = await putBlob(repository, bytesOf(seed + 500, CONFIG_BYTES), options);
  const layers: { digest: Digest; size: number; mediaType: string }[] = [];
  for (const { layer, seed: of, bytes } of parts) {
    layers.push({ ...LAYERS[layer], digest: await putBlob(repository, bytesOf(of, bytes), options), size: bytes });
  }
  return documentOf('application/vnd.oci.image.manifest.v1+json', {
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: CONFIG_BYTES },
    layers,
  });
}

export async function put(
  repository: string,
  reference: string,
  image: Image,
  options: CallOptions = { as: 'alice' },
): Promise<void> {
  const response = await putManifest(repository, reference, image, options);
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
}

/** Lists images at central, with their details. @param query more of the query, which begins with `&` */
export async function list(query = '', user: UserName = 'alice'): Promise<CentralImage[]> {
  return imagesIn(await call('GET', `/v1/images?details=true${query}`, { as: wholeOf(user) }));
}

/** Returns the form of an error: compare it with {@link refused}. */
export async function errorOf(response: Response): Promise<unknown[]> {
  const { status, errors } = await response.json<{ status: string; errors: { status: number; message: string }[] }>();
  return [
    response.status,
    status,
    errors.map((error) => [Object.keys(error).join(), error.status, error.message !== '']),
  ];
}

export const refused = (status: number) => [status, 'error', [['status,message', status, true]]];
