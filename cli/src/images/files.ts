import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

/** Bytes read from a file at once. */
const PIECE_BYTES = 1024 ** 2;

/** The files of an image, in a folder or in an archive. */
export interface ImageFiles {
  /** Names the folder or the archive in messages. */
  readonly name: string;
  /** Returns the length of a file, in bytes; undefined if there is none. */
  sizeOf(path: string): Promise<number | undefined>;
  /** Reads a small file whole. */
  read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** @param end the byte after the last */
  open(path: string, start: number, end: number): ReadableStream<Uint8Array>;
}

export class FolderFiles implements ImageFiles {
  readonly name: string;

  constructor(folder: string) {
    this.name = folder;
  }

  async sizeOf(path: string): Promise<number | undefined> {
    const found = await stat(join(this.name, path)).catch(ifMissing);
    return found?.isFile() === true ? found.size : undefined;
  }

  async read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const found = await readFile(join(this.name, path)).catch(ifMissing);
    return found === undefined ? undefined : new Uint8Array(found);
  }

  open(path: string, start: number, end: number): ReadableStream<Uint8Array> {
    return partOfFile(join(this.name, path), start, end);
  }
}

/** Opens a part of a file. @param end the byte after the last */
export function partOfFile(file: string, start: number, end: number): ReadableStream<Uint8Array> {
  if (start >= end) return new Blob([]).stream();
  const stream = createReadStream(file, { start, end: end - 1, highWaterMark: PIECE_BYTES });
  return Readable.toWeb(stream, { strategy: { highWaterMark: 1 } }) as ReadableStream<Uint8Array>;
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EISDIR') return undefined;
  throw error;
}
