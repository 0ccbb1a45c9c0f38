/**
 * Compresses layers so that the same bytes come out on every machine, each time: a layer then keeps its digest, and is
 * pushed once. zlib does not promise that, and Node's differs between versions and processors. fflate is JavaScript,
 * and its version is pinned.
 *
 * A layer becomes one gzip member for each block (RFC 1952 §2.2), which readers join. Blocks are compressed side by
 * side.
 */
import { availableParallelism } from 'node:os';
import { gzip } from 'fflate';
import { piecesOf } from '../../../src/oci-client/answer.ts';

/** Changing either changes the digest of every layer. */
const BLOCK_BYTES = 4 * 1024 ** 2;
const LEVEL = 3;

export async function* compressed(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const most = availableParallelism();
  const underWay: Promise<Uint8Array>[] = [];
  for await (const block of blocksOf(stream)) {
    underWay.push(compressedBlock(block));
    if (underWay.length > most) yield (await underWay.shift()) as Uint8Array;
  }
  for (const block of underWay) yield await block;
}

/** Cuts a stream into blocks of equal size, except for the last. There is at least one. */
async function* blocksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  let block = new Uint8Array(BLOCK_BYTES);
  let filled = 0;
  let isFirst = true;
  for await (const piece of piecesOf(stream)) {
    for (let at = 0; at < piece.length;) {
      const taken = piece.subarray(at, at + BLOCK_BYTES - filled);
      block.set(taken, filled);
      at += taken.length;
      filled += taken.length;
      if (filled < BLOCK_BYTES) continue;
      yield block;
      isFirst = false;
      block = new Uint8Array(BLOCK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0 || isFirst) yield block.slice(0, filled);
}

/** Compresses in a thread of its own, which takes over the block's memory. */
function compressedBlock(block: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gzip(block, { level: LEVEL, mtime: 0, consume: true }, (error, bytes) => {
      if (error === null) resolve(bytes);
      else reject(error);
    });
  });
}
