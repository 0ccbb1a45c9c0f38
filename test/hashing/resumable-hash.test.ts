/** The resumable hash agrees with the native one, wherever the bytes are cut and the state is saved. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { restoreHash, startHash } from '../../src/hashing/resumable-hash.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { Random } from '../support/random.ts';

const ALGORITHMS = ['sha256', 'sha512'] as const;

/** Content, and where it is cut into pieces. At each cut, the state may be saved and restored. */
const PIECES = fc.array(fc.record({ length: fc.nat(300), saves: fc.boolean() }), { maxLength: 12 });

describe.each(ALGORITHMS)('%s', (algorithm) => {
  test('agrees with the native hash at random cuts, saves and restores', async () => {
    await fc.assert(
      fc.asyncProperty(PIECES, fc.nat(), async (pieces, seed) => {
        const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
        const content = new Random(seed).bytes(length);
        let hash = startHash(algorithm);
        let at = 0;
        for (const piece of pieces) {
          if (piece.saves) hash = restoreHash(hash.save());
          hash.update(content.subarray(at, at + piece.length));
          at += piece.length;
        }
        expect(hash.digest()).toBe(await digestOf(algorithm, content));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  test('agrees with the native hash at every length up to three blocks', async () => {
    const content = new Random(2).bytes(3 * 128 + 1);
    for (let length = 0; length <= content.byteLength; length++) {
      const hash = startHash(algorithm);
      hash.update(content.subarray(0, length));
      expect(restoreHash(hash.save()).digest()).toBe(await digestOf(algorithm, content.slice(0, length)));
    }
  });

  test('goes on after a digest, and after its state was saved', async () => {
    const content = new Random(3).bytes(1000);
    const hash = startHash(algorithm);
    hash.update(content.subarray(0, 333));
    expect(hash.digest()).toBe(await digestOf(algorithm, content.slice(0, 333)));
    const saved = hash.save();
    hash.update(content.subarray(333));
    expect(hash.digest()).toBe(await digestOf(algorithm, content));
    expect(restoreHash(saved).digest()).toBe(await digestOf(algorithm, content.slice(0, 333)));
  });

  test('keeps no reference to the bytes, which may be overwritten', async () => {
    const buffer = new Random(4).bytes(100);
    const expected = await digestOf(algorithm, buffer.slice());
    const hash = startHash(algorithm);
    hash.update(buffer);
    buffer.fill(0);
    expect(hash.digest()).toBe(expected);
  });

  test('saves at most 273 characters, and a length that does not fit 32 bits', () => {
    const hash = startHash(algorithm);
    hash.update(new Uint8Array(127));
    const saved = hash.save();
    expect(saved.length).toBeLessThanOrEqual(273);
    const [, state = ''] = saved.split(':');
    const bytes = Uint8Array.fromBase64(state, { alphabet: 'base64url' });
    const words = algorithm === 'sha256' ? 32 : 64;
    expect(bytes.subarray(words, words + 8)).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 127));
    // 2^40 bytes more change the length alone, and so the digest.
    bytes[words + 2] = 1;
    const longer = `${algorithm}:${bytes.toBase64({ alphabet: 'base64url', omitPadding: true })}`;
    expect(restoreHash(longer).save()).toBe(longer);
    expect(restoreHash(longer).digest()).not.toBe(hash.digest());
  });
});

test('text that is not the state of a hash is refused', () => {
  expect(() => restoreHash('md5:AAAA')).toThrow('not the state of a hash');
});
