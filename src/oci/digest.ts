import { OciError } from './errors.ts';

declare const brand: unique symbol;

/**
 * `<algorithm>:<encoded>` (image-spec, "Digests"). Stored content always has a digest of a supported algorithm. A
 * digest of another algorithm can occur in a read request or as a subject.
 */
export type Digest = string & { readonly [brand]: 'Digest' };

export type Algorithm = 'sha256' | 'sha512';

/** For each algorithm, the number of hex digits in a digest and the name that Web Crypto uses. */
const ALGORITHMS: Readonly<Record<Algorithm, { hexDigits: number; webCrypto: 'SHA-256' | 'SHA-512' }>> = {
  sha256: { hexDigits: 64, webCrypto: 'SHA-256' },
  sha512: { hexDigits: 128, webCrypto: 'SHA-512' },
};

const GRAMMAR = /^([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/;

/** The longest digest of any algorithm, in characters. A sha512 digest has 135. */
const MAX_LENGTH = 255;

/**
 * Parses a digest under which content is pushed.
 * @param argument names the value in error messages
 * @throws OciError DIGEST_INVALID if the digest is malformed or its algorithm is not supported
 */
export function parseDigest(text: string, argument = 'digest'): Digest {
  const digest = parseAnyDigest(text, argument);
  if (isAlgorithm(text.slice(0, text.indexOf(':')))) return digest;
  throw invalid(text, `${argument} has an unsupported algorithm: use sha256 or sha512`);
}

/**
 * Parses a digest of any algorithm, as in a read request or a subject. Nothing is stored under an unsupported
 * algorithm, so a read of such a digest is a 404.
 * @param argument names the value in error messages
 * @throws OciError DIGEST_INVALID if the digest is malformed
 */
export function parseAnyDigest(text: string, argument = 'digest'): Digest {
  const match = GRAMMAR.exec(text);
  if (!match) throw invalid(text, `${argument} must have the form <algorithm>:<hex>`);
  const [, algorithm = '', encoded = ''] = match;
  if (text.length > MAX_LENGTH) throw invalid(text, `${argument} has more than ${MAX_LENGTH} characters`);
  if (!isAlgorithm(algorithm)) return text as Digest;
  if (encoded.length !== ALGORITHMS[algorithm].hexDigits || !/^[0-9a-f]+$/.test(encoded)) {
    throw invalid(
      text,
      `${argument} must have ${ALGORITHMS[algorithm].hexDigits} lowercase hexadecimal digits after ${algorithm}:`,
    );
  }
  return text as Digest;
}

/** Returns the digest, or undefined if `parse` rejects `text`. By default, unsupported algorithms are rejected. */
export function digestOrUndefined(text: unknown, parse: typeof parseDigest = parseDigest): Digest | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** @throws OciError DIGEST_INVALID if `text` is not the name of a supported algorithm */
export function parseAlgorithm(text: string): Algorithm {
  if (!isAlgorithm(text)) throw invalid(text, 'digest-algorithm must be sha256 or sha512');
  return text;
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

export function webCryptoName(algorithm: Algorithm): 'SHA-256' | 'SHA-512' {
  return ALGORITHMS[algorithm].webCrypto;
}

export function digestFromHash(algorithm: Algorithm, hash: ArrayBuffer): Digest {
  const hex = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${algorithm}:${hex}` as Digest;
}

/** Computes the digest of a value that is in memory. Streams are hashed where they are written. */
export async function digestOf(algorithm: Algorithm, bytes: Uint8Array<ArrayBuffer>): Promise<Digest> {
  return digestFromHash(algorithm, await crypto.subtle.digest(webCryptoName(algorithm), bytes));
}

/** Returns the option of R2's `put` that makes R2 check the content against `digest`. */
export function checksumOption(digest: Digest): { sha256: string } | { sha512: string } {
  const hex = hexOf(digest);
  return algorithmOf(digest) === 'sha256' ? { sha256: hex } : { sha512: hex };
}

function isAlgorithm(text: string): text is Algorithm {
  return Object.hasOwn(ALGORITHMS, text);
}

function invalid(text: string, message: string): OciError {
  return new OciError('DIGEST_INVALID', { message, detail: { digest: text.slice(0, 200) } });
}
