/** Content to push. Each piece is unique, so that none is a duplicate. */
import { createHash, randomBytes } from 'node:crypto';

const PIECE_BYTES = 1024 * 1024;
const block = randomBytes(PIECE_BYTES);

/** Large content that is never in memory as a whole. */
export interface Content {
  readonly byteLength: number;
  readonly digest: string;
  pieces(): Iterable<Buffer>;
}

/** @param bytes a multiple of 1 MiB */
export function largeContent(bytes: number): Content {
  const salt = randomBytes(16);
  function* pieces(): Iterable<Buffer> {
    for (let i = 0; i < bytes / PIECE_BYTES; i++) {
      const piece = Buffer.from(block);
      salt.copy(piece);
      piece.writeUInt32LE(i, salt.byteLength);
      yield piece;
    }
  }
  const hash = createHash('sha256');
  for (const piece of pieces()) hash.update(piece);
  return { byteLength: bytes, digest: `sha256:${hash.digest('hex')}`, pieces };
}

export interface Layer {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly hex: string;
}

/** Returns layers of one size in one buffer: each is valid until the next one is requested. */
export function layers(bytes: number): () => Layer {
  const layer = randomBytes(bytes);
  return () => {
    randomBytes(16).copy(layer);
    const hex = createHash('sha256').update(layer).digest('hex');
    return { bytes: layer, hex, digest: `sha256:${hex}` };
  };
}
