/** How base64url spells 32 bytes, such as an HMAC-SHA256 or a secret: in 43 characters. */

/**
 * The characters that can come last. Each carries 4 of the 256 bits. Any other character would also set two bits that
 * decoders ignore.
 */
export const LAST_CHARACTERS = 'AEIMQUYcgkosw048';
