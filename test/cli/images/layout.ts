/** Images in OCI layouts, as fixtures of pushes. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const OCI = 'application/vnd.oci.image';

export class Layout {
  readonly folder: string;
  readonly #listed: object[] = [];

  constructor(folder: string) {
    this.folder = folder;
  }

  async blob(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
    const hex = createHash('sha256').update(bytes).digest('hex');
    await mkdir(join(this.folder, 'blobs/sha256'), { recursive: true });
    await writeFile(join(this.folder, 'blobs/sha256', hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.byteLength };
  }

  document(mediaType: string, fields: object): Promise<Descriptor> {
    return this.blob(mediaType, Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields })));
  }

  /** Adds an image with layers of random bytes. */
  async image(sizes: readonly number[], more: object = {}): Promise<Descriptor> {
    const layers = await Promise.all(sizes.map((size) => this.blob(`${OCI}.layer.v1.tar+gzip`, randomBytes(size))));
    const config = await this.blob(`${OCI}.config.v1+json`, Buffer.from(`{"id":"${randomBytes(8).toString('hex')}"}`));
    return this.document(`${OCI}.manifest.v1+json`, { config, layers, ...more });
  }

  index(manifests: readonly Descriptor[]): Promise<Descriptor> {
    return this.document(`${OCI}.index.v1+json`, { manifests });
  }

  /** Lists a manifest in the layout, by a tag or without one. */
  async list(manifest: Descriptor, tag?: string): Promise<void> {
    const annotations = tag === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': tag } };
    this.#listed.push({ ...manifest, ...annotations });
    await writeFile(join(this.folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(join(this.folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: this.#listed }));
  }
}

/** Returns the names of the blobs in a layout, after comparing each with its digest. */
export async function blobsOf(folder: string): Promise<string[]> {
  const blobs = join(folder, 'blobs/sha256');
  const names = await readdir(blobs);
  for (const name of names) {
    const hex = createHash('sha256')
      .update(await readFile(join(blobs, name)))
      .digest('hex');
    if (hex !== name) throw new Error(`${name} is damaged`);
  }
  return names.toSorted();
}
