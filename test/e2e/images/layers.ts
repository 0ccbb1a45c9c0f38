import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { DebianPackages } from './debian.ts';
import { type FileSource, FILES, LAYERS } from './fixtures.ts';
import { initramfs } from './initramfs.ts';
import { blobPath, type Descriptor, writeBlob } from './layout.ts';
import { noise } from './noise.ts';
import { type Content, tar, type TarEntry } from './tar.ts';

const TAR = 'application/vnd.oci.image.layer.v1.tar';

export interface Layer {
  /** Path of the file with the layer's bytes. */
  readonly path: string;
  readonly descriptor: Descriptor;
  /** The digest of the uncompressed archive. */
  readonly diffId: string;
}

/** Builds each layer of `fixtures.ts` once, below one folder. */
export class Layers {
  readonly #directory: string;
  readonly #debian: DebianPackages;
  readonly #layers = new Map<string, Promise<Layer>>();
  readonly #files = new Map<string, Promise<Content>>();

  constructor(directory: string) {
    this.#directory = directory;
    this.#debian = new DebianPackages(join(directory, 'debian'));
  }

  /** @throws PackagesUnavailable */
  get(name: string): Promise<Layer> {
    return once(this.#layers, name, () => this.#make(name));
  }

  async #make(name: string): Promise<Layer> {
    const source = LAYERS[name];
    if (source === undefined) throw new Error(`there is no layer ${name}`);
    const entries: TarEntry[] = [];
    for (const { path, file, linkTo = '' } of source.entries) {
      entries.push(
        file === undefined ? { kind: 'link', path, linkTo } : { kind: 'file', path, content: await this.#file(file) },
      );
    }
    const diff = createHash('sha256');
    const archive = Readable.from(hashed(tar(entries), diff));
    const directory = join(this.#directory, name);
    const descriptor = source.gzip
      ? await writeBlob(directory, `${TAR}+gzip`, archive.pipe(createGzip()))
      : await writeBlob(directory, TAR, archive);
    return { path: blobPath(directory, descriptor), descriptor, diffId: `sha256:${diff.digest('hex')}` };
  }

  #file(name: string): Promise<Content> {
    return once(this.#files, name, () => {
      const source = FILES[name];
      if (source === undefined) throw new Error(`there is no file ${name}`);
      return this.#content(source);
    });
  }

  async #content(source: FileSource): Promise<Content> {
    switch (source.kind) {
      case 'noise':
        return noise(source.seed, source.mebibytes);
      case 'debian':
        return whole(await this.#debian.file(source.package, source.architecture, source.path));
      case 'initramfs': {
        const busybox = await this.#file(source.busybox);
        const chunks: Uint8Array[] = [];
        for await (const chunk of busybox.read()) chunks.push(chunk);
        return whole(initramfs(Buffer.concat(chunks), source.init));
      }
    }
  }
}

function once<T>(made: Map<string, Promise<T>>, name: string, make: () => Promise<T>): Promise<T> {
  const promise = made.get(name) ?? make();
  made.set(name, promise);
  return promise;
}

function whole(bytes: Uint8Array): Content {
  return { size: bytes.byteLength, read: () => [bytes] };
}

async function* hashed(chunks: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}
