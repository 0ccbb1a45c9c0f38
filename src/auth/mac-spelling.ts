/** How base64url spells 32 bytes, such as an HMAC-SHA256 or a secret: in 43 characters. */

/** The possible last characters, which carry 4 of the 256 bits. Decoders ignore two more bits that others have. */
export const LAST_CHARACTERS = 'AEIMQUYcgkosw048';
