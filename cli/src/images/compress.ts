/**
 * Compresses layers so that the same bytes come out on every machine, each time: a layer then keeps its digest, and is
 * pushed once. zlib does not promise that, and Node's differs between versions and processors. fflate is JavaScript, and
 * its version is pinned.
 *
 * A layer becomes one gzip member for each block (RFC 1952 §2.2), which readers join.
 */
import { gzipSync } from 'fflate';
import { piecesOf } from '../../../src/oci-client/answer.ts';

/** Changing either changes the digest of every layer. */
const BLOCK_BYTES = 4 * 1024 ** 2;
const LEVEL = 3;

export async function* compressed(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const block = new Uint8Array(BLOCK_BYTES);
  let filled = 0;
  let isEmpty = true;
  for await (const piece of piecesOf(stream)) {
    for (let at = 0; at < piece.length;) {
      const taken = piece.subarray(at, at + BLOCK_BYTES - filled);
      block.set(taken, filled);
      at += taken.length;
      filled += taken.length;
      if (filled < BLOCK_BYTES) continue;
      yield gzipSync(block, { level: LEVEL, mtime: 0 });
      isEmpty = false;
      filled = 0;
    }
  }
  if (filled > 0 || isEmpty) yield gzipSync(block.subarray(0, filled), { level: LEVEL, mtime: 0 });
}
