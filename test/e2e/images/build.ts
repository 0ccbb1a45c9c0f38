/** Makes the images of `fixtures.ts` as OCI layouts, and keeps them until their code or data changes. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CACHE } from '../cache.ts';
import { IMAGES, type ImageName, type ImageSource, LAYERS, type ManifestSource } from './fixtures.ts';
import { Layers } from './layers.ts';
import { blobPath, type Descriptor, OCI_INDEX, OCI_MANIFEST, writeBlob, writeIndex } from './layout.ts';

const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';

/** Returns the folder of each image's layout. @throws PackagesUnavailable */
export async function buildImages(): Promise<Readonly<Record<ImageName, string>>> {
  const folder = join(CACHE, 'images');
  const finished = join(folder, await fingerprint());
  const names = Object.keys(IMAGES) as ImageName[];
  if (!existsSync(finished)) {
    await rm(folder, { recursive: true, force: true });
    const incomplete = join(folder, 'incomplete');
    const layers = new Layers(join(folder, 'layers'));
    for (const name of names) await writeImage(join(incomplete, name), name, IMAGES[name], layers);
    await rm(join(folder, 'layers'), { recursive: true });
    await rename(incomplete, finished);
  }
  return Object.fromEntries(names.map((name) => [name, join(finished, name)])) as Record<ImageName, string>;
}

async function writeImage(
  layout: string,
  name: string,
  { kind, manifests }: ImageSource,
  layers: Layers,
): Promise<void> {
  const written: Descriptor[] = [];
  for (const source of manifests) {
    written.push({
      ...(await writeManifest(layout, source, layers)),
      ...(kind === 'index' ? { platform: source.platform } : {}),
    });
  }
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: written };
  const image = kind === 'index' ? await writeJson(layout, OCI_INDEX, index) : written[0];
  if (image !== undefined) await writeIndex(layout, name, image);
}

async function writeManifest(layout: string, source: ManifestSource, layers: Layers): Promise<Descriptor> {
  const { platform, command, platformInConfigDescriptor = false } = source;
  const made = await Promise.all(source.layers.map((name) => layers.get(name)));
  const config = await writeJson(layout, OCI_CONFIG, {
    ...platform,
    created: '1970-01-01T00:00:00Z',
    config: { Cmd: command },
    rootfs: { type: 'layers', diff_ids: made.map(({ diffId }) => diffId) },
  });
  for (const { path, descriptor } of made) await link(path, blobPath(layout, descriptor));
  return writeJson(layout, OCI_MANIFEST, {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: platformInConfigDescriptor ? { ...config, platform } : config,
    layers: source.layers.map((name, i) => withAnnotations(made[i]?.descriptor, LAYERS[name]?.annotations)),
  });
}

function withAnnotations(
  descriptor: Descriptor | undefined,
  annotations: Readonly<Record<string, string>> | undefined,
): object {
  return { ...descriptor, ...(annotations && { annotations }) };
}

function writeJson(layout: string, mediaType: string, value: object): Promise<Descriptor> {
  return writeBlob(layout, mediaType, [Buffer.from(JSON.stringify(value))]);
}

/** Returns a hash of the code and the data in this folder. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of (await readdir(import.meta.dirname)).toSorted()) {
    hash.update(file).update(await readFile(join(import.meta.dirname, file)));
  }
  return hash.digest('hex').slice(0, 16);
}
