/** The contents of a signature, an SBOM or an attestation, as text that a person can read. */
import { z } from 'zod';
import { boundedJson } from '../oci/json-limits.ts';

/** The largest contents that a page shows, in bytes. */
export const MAX_READABLE_BYTES = 1024 * 1024;

/** An envelope whose payload is signed (DSSE); in-toto attestations come in one. */
const envelope = z.object({ payloadType: z.string(), payload: z.base64() });

/**
 * Returns text to show: JSON is indented, and the payload of an envelope follows it.
 * @param stored the contents, decoded from UTF-8
 * @returns undefined if the contents are not text
 */
export function readable(stored: string): string | undefined {
  // U+FFFD stands for bytes that are not UTF-8.
  if (/[\0\uFFFD]/.test(stored)) return undefined;
  const document = boundedJson(stored);
  if (document === undefined) return stored;
  const payload = envelope.safeParse(document).data;
  const signed = payload === undefined ? undefined : readable(decoded(payload.payload));
  return [indented(document, stored), ...(signed === undefined ? [] : ['The payload:', signed])].join('\n\n');
}

function decoded(base64: string): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(base64));
}

/** Each line of a nested document starts with many spaces, so one that grows by much stays as it is. */
function indented(document: unknown, stored: string): string {
  const text = JSON.stringify(document, undefined, 2);
  return text.length <= 4 * Math.max(stored.length, 1024) ? text : stored;
}
