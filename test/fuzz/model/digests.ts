/** Digests of bytes, computed by Web Crypto alone. */

export type Algorithm = 'sha256' | 'sha512';

export async function digestOf(algorithm: Algorithm, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = await crypto.subtle.digest({ sha256: 'SHA-256', sha512: 'SHA-512' }[algorithm], bytes);
  return `${algorithm}:${new Uint8Array(hash).toHex()}`;
}

export function concatenate(...pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.byteLength;
  }
  return all;
}
