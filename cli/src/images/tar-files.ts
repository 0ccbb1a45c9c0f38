import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../errors.ts';
import { type ImageFiles, partOfFile } from './files.ts';

const MAX_EXTENSION_BYTES = 64 * 1024;
const BLOCK = 512;

/** The place of each file, in bytes. */
type Entries = ReadonlyMap<string, { readonly start: number; readonly size: number }>;

/** The files of a tar archive, read without unpacking it. */
export class TarFiles implements ImageFiles {
  readonly name: string;
  readonly #entries: Entries;

  private constructor(name: string, entries: Entries) {
    this.name = name;
    this.#entries = entries;
  }

  /** Reads the headers of an archive. @throws Failure if it is not a tar archive */
  static async open(file: string): Promise<TarFiles> {
    const handle = await open(file);
    try {
      const entries = new Map<string, { start: number; size: number }>();
      const header = Buffer.alloc(BLOCK);
      let extended: Extended = {};
      for (let at = 0; (await handle.read(header, 0, BLOCK, at)).bytesRead === BLOCK && header[0] !== 0;) {
        if (!hasChecksum(header)) throw new Failure(notAnArchive(file, header));
        const type = String.fromCharCode(header[156] ?? 0);
        const isExtension = type === 'x' || type === 'L';
        const size = (isExtension ? undefined : extended.size) ?? numberIn(header.subarray(124, 136));
        const start = at + BLOCK;
        if (isExtension) {
          const text = Buffer.alloc(Math.min(size, MAX_EXTENSION_BYTES));
          await handle.read(text, 0, text.length, start);
          extended = type === 'L' ? { path: textIn(text) } : paxRecords(text);
        } else if (type !== 'g') {
          const path = normal(extended.path ?? nameIn(header));
          const entry = type === '0' || type === '\0' ? { start, size } : entries.get(targetOf(type, path, header));
          if (entry !== undefined) entries.set(path, entry);
          extended = {};
        }
        at = start + Math.ceil(size / BLOCK) * BLOCK;
      }
      return new TarFiles(file, entries);
    } finally {
      await handle.close();
    }
  }

  async sizeOf(path: string): Promise<number | undefined> {
    return this.#entries.get(normal(path))?.size;
  }

  async read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const size = await this.sizeOf(path);
    return size === undefined ? undefined : new Uint8Array(await new Response(this.open(path, 0, size)).arrayBuffer());
  }

  open(path: string, start: number, end: number): ReadableStream<Uint8Array> {
    const entry = this.#entries.get(normal(path));
    if (entry === undefined) throw new Failure(`${this.name} lacks ${path}`);
    return partOfFile(this.name, entry.start + start, entry.start + Math.min(end, entry.size));
  }
}

function hasChecksum(header: Buffer): boolean {
  const stated = numberIn(header.subarray(148, 156));
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  return stated === sum;
}

function notAnArchive(file: string, header: Buffer): string {
  return header[0] === 0x1f && header[1] === 0x8b
    ? `${file} is compressed: unpack it first, with gunzip`
    : `${file} is not a tar archive`;
}

/** Octal digits, or, for large files, GNU's binary form. */
function numberIn(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(textIn(field).trim() || '0', 8);
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
}

function nameIn(header: Buffer): string {
  const name = textIn(header.subarray(0, 100));
  const prefix = header.subarray(257, 262).toString() === 'ustar' ? textIn(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** The fields that an extension header has for the file after it (POSIX pax, or GNU's long names). */
interface Extended {
  readonly path?: string;
  readonly size?: number;
}

function paxRecords(text: Buffer): Extended {
  const record = (key: string): string | undefined =>
    new RegExp(`(?:^|\\n)\\d+ ${key}=([^\\n]*)\\n`).exec(text.toString())?.[1];
  const [path, size] = [record('path'), record('size')];
  return { ...(path === undefined ? {} : { path }), ...(size === undefined ? {} : { size: Number(size) }) };
}

/** Returns the path that a link names. Docker's older archives have a link where a layer repeats. */
function targetOf(type: string, path: string, header: Buffer): string {
  const target = textIn(header.subarray(157, 257));
  return type === '2' ? normal(join(path, '..', target)) : normal(target);
}

function textIn(field: Buffer): string {
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? field.length : end).toString();
}

function normal(path: string): string {
  return join('/', path).slice(1);
}
