import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { compressed } from '../../../cli/src/images/compress.ts';

const text = Buffer.from(Array.from({ length: 900_000 }, (_, i) => `line ${i}\n`).join(''));

function inPieces(bytes: Buffer, size: number): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.subarray(at, at + size));
      controller.close();
    },
  });
}

async function gzipped(bytes: Buffer, size: number): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(compressed(inPieces(bytes, size))));
}

test.each([0, 1, 4 * 1024 ** 2, text.length])('%d bytes come back', async (length) => {
  expect(gunzipSync(await gzipped(text.subarray(0, length), 100_000)).equals(text.subarray(0, length))).toBe(true);
});

test('the bytes do not depend on how they arrive, on the time, or on the machine', async () => {
  const [small, large] = [await gzipped(text, 65_536), await gzipped(text, text.length)];
  expect(small.equals(large)).toBe(true);
  // A change of this digest changes those of all layers that anyone has pushed from docker.
  expect(createHash('sha256').update(small).digest('hex')).toBe(
    '5d69d0f7dc59f3c015fb71b9dbe4605df8b86d63b841671a35b16657ef0434c3',
  );
});
