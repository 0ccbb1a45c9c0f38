/**
 * Writes a tar archive (POSIX pax, with a binary size where octal digits do not suffice, as GNU's tar does). A path
 * that its header can't hold has a record before it.
 */
import { open } from 'node:fs/promises';
import { piecesOf } from '../../../src/oci-client/answer.ts';

const BLOCK = 512;
/** The longest path that a header holds, in bytes. */
const MAX_NAME_BYTES = 100;
/** The first size that eleven octal digits can't hold. */
const OCTAL_END = 8 ** 11;

export interface TarEntry {
  readonly path: string;
  readonly size: number;
  open(): ReadableStream<Uint8Array>;
}

/** Writes the entries in their order. They have no times and no owner, so that equal images make equal archives. */
export async function writeTar(path: string, entries: readonly TarEntry[]): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (const entry of entries) {
      if (Buffer.byteLength(entry.path) > MAX_NAME_BYTES) await file.writeFile(extensionFor(entry.path));
      await file.writeFile(headerOf(entry, '0'));
      for await (const piece of piecesOf(entry.open())) await file.writeFile(piece);
      await file.writeFile(paddingAfter(entry.size));
    }
    await file.writeFile(Buffer.alloc(2 * BLOCK));
  } finally {
    await file.close();
  }
}

/** Returns a pax header with the path of the next entry (POSIX pax, "Extended Header"). */
function extensionFor(path: string): Buffer {
  const record = Buffer.from(paxRecord('path', path));
  const header = headerOf({ path: 'PaxHeaders/path', size: record.length }, 'x');
  return Buffer.concat([header, record, paddingAfter(record.length)]);
}

/** A record begins with its own length, in bytes. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const restBytes = Buffer.byteLength(rest);
  let length = restBytes;
  while (length !== restBytes + String(length).length) length = restBytes + String(length).length;
  return `${length}${rest}`;
}

function paddingAfter(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** @param type '0' for a file, 'x' for a pax header */
function headerOf({ path, size }: Omit<TarEntry, 'open'>, type: '0' | 'x'): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(path, 0, MAX_NAME_BYTES);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  if (size < OCTAL_END) header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  else {
    header.writeUInt8(0x80, 124);
    header.writeBigUInt64BE(BigInt(size), 128);
  }
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write('ustar\u000000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
