/** Digests of bytes, computed by Web Crypto alone. */

export type Algorithm = 'sha256' | 'sha512';

export async function digestOf(algorithm: Algorithm, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = await crypto.subtle.digest({ sha256: 'SHA-256', sha512: 'SHA-512' }[algorithm], bytes);
  return `${algorithm}:${new Uint8Array(hash).toHex()}`;
}

export function concatenate(...pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(pieces.flatMap((piece) => Array.from(piece)));
}
