/** An OCI image layout on disk (image-spec, "OCI Image Layout"), with one image in its index. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string };
}

interface Manifest {
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** The annotation with the tag by which clients name the image in a layout. */
const NAME = 'org.opencontainers.image.ref.name';

export async function writeBlob(
  layout: string,
  mediaType: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Descriptor> {
  const folder = join(layout, 'blobs/sha256');
  await mkdir(folder, { recursive: true });
  const hash = createHash('sha256');
  const temporary = join(folder, 'incomplete');
  let size = 0;
  await pipeline(
    Readable.from(bytes),
    async function* measured(chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.byteLength;
        yield chunk;
      }
    },
    createWriteStream(temporary),
  );
  const hex = hash.digest('hex');
  await rename(temporary, join(folder, hex));
  return { mediaType, digest: `sha256:${hex}`, size };
}

export async function writeIndex(layout: string, name: string, image: Descriptor): Promise<void> {
  await writeFile(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const manifests = [{ ...image, annotations: { [NAME]: name } }];
  await writeFile(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
}

export function blobPath(layout: string, { digest }: Descriptor): string {
  return join(layout, 'blobs', digest.replace(':', '/'));
}

/** Returns the digests of the image's configs or layers, for all of its platforms. */
export async function blobsOf(layout: string, part: 'config' | 'layers'): Promise<string[]> {
  const digests = new Set<string>();
  for (const descriptor of await contentOf(layout)) {
    const { config, layers = [] } = await manifestOf(layout, descriptor);
    if (part === 'layers') for (const { digest } of layers) digests.add(digest);
    else if (config !== undefined) digests.add(config.digest);
  }
  return [...digests];
}

/** Returns the descriptor in the layout's index. */
export async function rootOf(layout: string): Promise<Descriptor> {
  const [root] = await contentOf(layout);
  if (root === undefined) throw new Error(`${layout} is empty`);
  return root;
}

/** Returns the sizes of all configs and layers. */
export async function blobSizes(layout: string): Promise<number[]> {
  const sizes = new Map<string, number>();
  for (const descriptor of await contentOf(layout)) {
    const { config, layers = [] } = await manifestOf(layout, descriptor);
    for (const { digest, size } of [...layers, ...(config === undefined ? [] : [config])]) sizes.set(digest, size);
  }
  return [...sizes.values()];
}

/** Returns the config of the image's manifest for this architecture. */
export async function configOf(layout: string, architecture: string): Promise<Descriptor> {
  for (const descriptor of await contentOf(layout)) {
    const { config } = await manifestOf(layout, descriptor);
    if (descriptor.platform?.architecture === architecture && config !== undefined) return config;
  }
  throw new Error(`${layout} has nothing for ${architecture}`);
}

/** Returns which parts of an image another layout lacks, or has with other bytes. */
export async function differences(expected: string, actual: string): Promise<string[]> {
  const found: string[] = [];
  for (const descriptor of await contentOf(expected)) {
    const difference = await compareFiles(blobPath(expected, descriptor), blobPath(actual, descriptor));
    if (difference !== undefined) found.push(`${descriptor.digest} (${descriptor.mediaType}) ${difference}`);
  }
  return found;
}

/** Returns the image in the layout's index, and everything that its manifest refers to. */
export async function contentOf(layout: string): Promise<Descriptor[]> {
  const { manifests = [] } = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as Manifest;
  const content = [...manifests];
  for (const descriptor of content) {
    const { config, layers = [], manifests: children = [] } = await manifestOf(layout, descriptor);
    content.push(...(config === undefined ? [] : [config]), ...layers, ...children);
  }
  return content;
}

/** Returns the manifest of a descriptor; empty for anything else. */
async function manifestOf(layout: string, descriptor: Descriptor): Promise<Manifest> {
  if (descriptor.mediaType !== OCI_INDEX && descriptor.mediaType !== OCI_MANIFEST) return {};
  return JSON.parse(await readFile(blobPath(layout, descriptor), 'utf8')) as Manifest;
}

async function compareFiles(left: string, right: string): Promise<string | undefined> {
  const STEP = 2 ** 20;
  const [a, b] = [await open(left), await open(right).catch(() => undefined)];
  try {
    if (b === undefined) return 'is missing';
    const [expected, actual] = [Buffer.alloc(STEP), Buffer.alloc(STEP)];
    for (;;) {
      const { bytesRead } = await a.read(expected, 0, STEP);
      const { bytesRead: otherRead } = await b.read(actual, 0, STEP);
      if (!expected.subarray(0, bytesRead).equals(actual.subarray(0, otherRead))) return 'has other bytes';
      if (bytesRead === 0) return undefined;
    }
  } finally {
    await a.close();
    await b?.close();
  }
}
