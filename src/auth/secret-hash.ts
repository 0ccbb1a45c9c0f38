/** Returns the SHA-256 in hex. Secrets are 256 random bits, so a slow hash would protect nothing. */
export async function hashSecret(secret: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret))).toHex();
}
