/** Writes a tar archive (POSIX ustar, with a binary size where octal digits do not suffice, as GNU's tar does). */
import { open } from 'node:fs/promises';
import { piecesOf } from '../../../src/oci-client/answer.ts';

const BLOCK = 512;
/** The first size that eleven octal digits can't hold. */
const OCTAL_END = 8 ** 11;

export interface TarEntry {
  /** At most 100 bytes. */
  readonly path: string;
  readonly size: number;
  open(): ReadableStream<Uint8Array>;
}

/** Writes the entries in their order. They have no times and no owner, so that equal images make equal archives. */
export async function writeTar(path: string, entries: readonly TarEntry[]): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (const entry of entries) {
      await file.writeFile(headerOf(entry));
      for await (const piece of piecesOf(entry.open())) await file.writeFile(piece);
      await file.writeFile(Buffer.alloc((BLOCK - (entry.size % BLOCK)) % BLOCK));
    }
    await file.writeFile(Buffer.alloc(2 * BLOCK));
  } finally {
    await file.close();
  }
}

function headerOf({ path, size }: TarEntry): Buffer {
  const header = Buffer.alloc(BLOCK);
  if (Buffer.byteLength(path) > 100) throw new Error(`${path} is too long for an archive`);
  header.write(path, 0);
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
  header.write('0', 156);
  header.write('ustar\u000000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
