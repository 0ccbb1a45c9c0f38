/**
 * Writes an OCI layout. A blob is written beside its place, and moved there once its digest is right. A pull that is
 * cut off leaves its unfinished blobs, and the next one goes on with them.
 */
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { algorithmOf, type Digest } from '../../../src/oci/digest.ts';
import { piecesOf } from '../../../src/oci-client/answer.ts';
import type { Content } from '../../../src/oci-client/content.ts';
import type { BlobEnd, ImageDestination } from '../../../src/oci-client/copy-image.ts';
import { type Descriptor, objectIn, type StoredManifest } from '../../../src/oci-client/descriptor.ts';
import { Failure } from '../errors.ts';
import { startHash } from '../hash.ts';
import { partOfFile } from './files.ts';
import { pathOf, REF_NAME } from './layout-source.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';

export class LayoutDestination implements ImageDestination {
  readonly #folder: string;
  readonly #signal: AbortSignal;
  /** The files of the images that were written, including those that were there before. */
  readonly used = new Set<Digest>();

  constructor(folder: string, signal: AbortSignal) {
    this.#folder = folder;
    this.#signal = signal;
  }

  /** The layout may have a manifest without all of its blobs. */
  async hasManifest(): Promise<boolean> {
    return false;
  }

  async putBlob(content: Content, onBytes: (bytes: number) => void): Promise<BlobEnd> {
    this.used.add(content.digest);
    const path = join(this.#folder, pathOf(content.digest));
    if ((await sizeOf(path)) === content.size) return 'exists';
    await mkdir(dirname(path), { recursive: true });
    const partial = `${path}.partial`;
    let at = (await sizeOf(partial)) ?? 0;
    if (at > content.size) at = 0;
    const kept = at;
    const hash = startHash(algorithmOf(content.digest));
    for await (const piece of piecesOf(partOfFile(partial, 0, at))) hash.update(piece);
    const file = await open(partial, at === 0 ? 'w' : 'r+');
    try {
      onBytes(at);
      for await (const piece of piecesOf(content.open(at, content.size))) {
        this.#signal.throwIfAborted();
        hash.update(piece);
        for (let written = 0; written < piece.length;) {
          written += (await file.write(piece, written, piece.length - written, at + written)).bytesWritten;
        }
        at += piece.length;
        onBytes(at);
      }
    } finally {
      await file.close();
    }
    const digest = hash.digest();
    if (digest !== content.digest) {
      await rm(partial);
      // The damaged part may be from an earlier pull.
      if (kept > 0) return this.putBlob(content, onBytes);
      throw new Failure(
        `the bytes of ${content.digest} have the digest ${digest}: they are damaged, or those of another blob`,
      );
    }
    await rename(partial, path);
    return 'done';
  }

  async putManifest(manifest: StoredManifest, tag: string | undefined): Promise<void> {
    this.used.add(manifest.digest);
    const path = join(this.#folder, pathOf(manifest.digest));
    await mkdir(dirname(path), { recursive: true });
    await writeWhole(path, manifest.bytes);
    const isReferrer = 'subject' in objectIn(manifest.bytes, manifest.digest);
    if (tag !== undefined || isReferrer) await this.#list(manifest, tag);
  }

  /** Lists a manifest under its tag, or as a referrer of another. Lists are written one after another. */
  #list(manifest: StoredManifest, tag: string | undefined): Promise<void> {
    this.#listing = this.#listing.then(() => this.#writeIndex(manifest, tag));
    return this.#listing;
  }

  #listing: Promise<void> = Promise.resolve();

  async #writeIndex({ digest, mediaType, bytes }: StoredManifest, tag: string | undefined): Promise<void> {
    const file = join(this.#folder, 'index.json');
    const before = await readFile(file).catch(() => undefined);
    const index = before === undefined ? {} : objectIn(before, file);
    const listed = Array.isArray(index['manifests']) ? (index['manifests'] as Descriptor[]) : [];
    const others = listed.filter((entry) => {
      const name = entry.annotations?.[REF_NAME];
      return tag === undefined ? entry.digest !== digest || name !== undefined : name !== tag;
    });
    const own = {
      mediaType,
      digest,
      size: bytes.byteLength,
      ...(tag === undefined ? {} : { annotations: { [REF_NAME]: tag } }),
    };
    const manifests = [...others, own];
    await writeWhole(join(this.#folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeWhole(file, JSON.stringify({ schemaVersion: 2, mediaType: INDEX, ...index, manifests }));
  }
}

async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  await writeFile(partial, content);
  await rename(partial, path);
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}
