import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  algorithmOf,
  checksumOption,
  type Digest,
  digestFromHash,
  digestOf,
  digestOrUndefined,
  hexOf,
  parseAlgorithm,
  parseAnyDigest,
  parseDigest,
  webCryptoName,
} from '../../src/oci/digest.ts';

// FIPS 180-2, appendices B.1 and C.1.
const ABC = new Uint8Array([0x61, 0x62, 0x63]);
const SHA256 = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad' as Digest;
const SHA512 =
  'sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f' as Digest;

const SUPPORTED = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Text that differs from a digest in a few characters. */
const nearDigest = fc
  .record({
    digest: fc.constantFrom<string>(
      SHA256,
      SHA512,
      SHA256.replace('sha256', 'sha512'),
      SHA512.replace('sha512', 'sha256'),
    ),
    edits: fc.array(
      fc.record({
        at: fc.nat(140),
        removed: fc.nat(2),
        inserted: fc.string({ unit: fc.constantFrom(...Array.from('09afAFg:.+-_= \n\0é')), maxLength: 2 }),
      }),
      { maxLength: 2 },
    ),
  })
  .map(({ digest, edits }) =>
    edits.reduce((text, { at, removed, inserted }) => text.slice(0, at) + inserted + text.slice(at + removed), digest),
  );

describe('parseDigest', () => {
  test('accepts exactly what the grammar allows for sha256 and sha512', () => {
    fc.assert(
      fc.property(fc.oneof(nearDigest, fc.string()), (text) => {
        const accepted = SUPPORTED.test(text);
        expect(digestOrUndefined(text)).toBe(accepted ? text : undefined);
        if (accepted) expect(parseDigest(text)).toBe(text);
        else expect(() => parseDigest(text)).toThrow(expect.objectContaining({ kind: 'DIGEST_INVALID' }));
      }),
      { seed: 101, numRuns: 2000 },
    );
  });

  test.each([
    ['', 'digest must have the form <algorithm>:<hex>'],
    ['latest', 'digest must have the form <algorithm>:<hex>'],
    [`:${'0'.repeat(64)}`, 'digest must have the form <algorithm>:<hex>'],
    ['sha256:', 'digest must have the form <algorithm>:<hex>'],
    [`sha256:${'0'.repeat(64)}\n`, 'digest must have the form <algorithm>:<hex>'],
    [`sha256:${'0'.repeat(62)}/x`, 'digest must have the form <algorithm>:<hex>'],
    [`SHA256:${'0'.repeat(64)}`, 'digest must have the form <algorithm>:<hex>'],
    [`sha256+:${'0'.repeat(64)}`, 'digest must have the form <algorithm>:<hex>'],
    [`md5:${'0'.repeat(32)}`, 'digest has an unsupported algorithm: use sha256 or sha512'],
    [`sha384:${'0'.repeat(96)}`, 'digest has an unsupported algorithm: use sha256 or sha512'],
    [`sha256+b64u:${'0'.repeat(43)}`, 'digest has an unsupported algorithm: use sha256 or sha512'],
    [`constructor:${'0'.repeat(64)}`, 'digest has an unsupported algorithm: use sha256 or sha512'],
    [`sha256:${'0'.repeat(63)}`, 'digest must have 64 lowercase hexadecimal digits after sha256:'],
    [`sha256:${'A'.repeat(64)}`, 'digest must have 64 lowercase hexadecimal digits after sha256:'],
    [`sha512:${'0'.repeat(64)}`, 'digest must have 128 lowercase hexadecimal digits after sha512:'],
  ])('says what is wrong with %j', (text, message) => {
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ kind: 'DIGEST_INVALID', message }));
  });

  test('names the argument, and repeats at most 200 characters of it', () => {
    const long = 'x'.repeat(5000);
    expect(() => parseDigest(long, 'the parameter mount')).toThrow(
      expect.objectContaining({
        message: 'the parameter mount must have the form <algorithm>:<hex>',
        detail: { digest: 'x'.repeat(200) },
      }),
    );
  });
});

describe('parseAnyDigest', () => {
  test.each([
    SHA256,
    SHA512,
    `md5:${'0'.repeat(32)}`,
    `sha256+b64u:${'0'.repeat(43)}`,
    'multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8',
    `constructor:${'0'.repeat(64)}`,
    `blake3:${'0'.repeat(248)}`,
  ])('accepts %s, whether Berth can compute it or not', (text) => {
    expect(parseAnyDigest(text)).toBe(text);
  });

  test.each([
    ['latest', 'digest must have the form <algorithm>:<hex>'],
    ['blake3:', 'digest must have the form <algorithm>:<hex>'],
    ['Blake3:00', 'digest must have the form <algorithm>:<hex>'],
    ['a++b:00', 'digest must have the form <algorithm>:<hex>'],
    [`blake3:${'0'.repeat(249)}`, 'digest has more than 255 characters'],
    [`sha256:${'A'.repeat(64)}`, 'digest must have 64 lowercase hexadecimal digits after sha256:'],
  ])('refuses %j', (text, message) => {
    expect(() => parseAnyDigest(text)).toThrow(expect.objectContaining({ kind: 'DIGEST_INVALID', message }));
  });
});

describe('digestOrUndefined', () => {
  test.each([undefined, null, 5, {}, [SHA256]])('finds no digest in %j', (value) => {
    expect(digestOrUndefined(value)).toBeUndefined();
  });
});

describe('parseAlgorithm', () => {
  test.each(['sha256', 'sha512'])('accepts %s', (name) => {
    expect(parseAlgorithm(name)).toBe(name);
  });

  test.each(['', 'SHA256', 'sha-256', 'md5', 'toString', 'sha256 '])('refuses %j', (name) => {
    expect(() => parseAlgorithm(name)).toThrow(
      expect.objectContaining({ kind: 'DIGEST_INVALID', message: 'digest-algorithm must be sha256 or sha512' }),
    );
  });
});

describe('the parts of a digest', () => {
  test.each([
    [SHA256, 'sha256', 'SHA-256'],
    [SHA512, 'sha512', 'SHA-512'],
  ] as const)('%s', (digest, algorithm, name) => {
    expect(algorithmOf(digest)).toBe(algorithm);
    expect(hexOf(digest)).toBe(digest.slice(7));
    expect(webCryptoName(algorithm)).toBe(name);
    expect(checksumOption(digest)).toEqual({ [algorithm]: digest.slice(7) });
  });
});

describe('digestOf', () => {
  test.each([
    ['sha256', SHA256],
    ['sha512', SHA512],
  ] as const)('hashes with %s', async (algorithm, digest) => {
    expect(await digestOf(algorithm, ABC)).toBe(digest);
  });

  test('writes every byte of a hash as two digits', () => {
    expect(digestFromHash('sha256', new Uint8Array([0, 1, 15, 16, 255]).buffer)).toBe('sha256:00010f10ff');
  });
});
