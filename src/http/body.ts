import { bodyLimit } from 'hono/body-limit';
import { OciError } from '../oci/errors.ts';
import type { Body } from '../registry/registry.ts';
import { wholeNumber } from './whole-number.ts';

/** The body of a request, without reading it; undefined where there is none. @throws OciError SIZE_INVALID */
export function bodyOf(request: Request): Body | undefined {
  const header = request.headers.get('Content-Length');
  const length = header === null ? undefined : wholeNumber(header);
  if (header !== null && length === undefined)
    throw new OciError('SIZE_INVALID', { message: 'Content-Length is not a number of bytes' });
  return request.body === null || length === 0 ? undefined : { stream: request.body, length };
}

/** What a refusal reads on for. A client that has more to send finds its connection closed, as it would at any limit. */
const MAX_DISCARDED = 64 * 1024 ** 2;

/**
 * Reads and drops a body that nothing has read. The connection of an answer that overtakes its request's body is reset,
 * and the client, still sending, may never see the answer.
 */
export async function discardBody(request: Request): Promise<void> {
  if (request.body === null || request.bodyUsed) return;
  let size = 0;
  try {
    for await (const piece of request.body) {
      size += piece.byteLength;
      if (size > MAX_DISCARDED) return;
    }
  } catch {
    // The client went away: nobody waits for the answer.
  }
}

/** Reads a whole body of at most `limit` bytes. @throws OciError MANIFEST_TOO_LARGE without reading on */
export function readManifestBody(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  return readWhole(request, limit, 'MANIFEST_TOO_LARGE');
}

async function readWhole(
  request: Request,
  limit: number,
  tooLarge: 'MANIFEST_TOO_LARGE' | 'BODY_TOO_LARGE',
): Promise<Uint8Array<ArrayBuffer>> {
  const body = bodyOf(request);
  if (body === undefined) return new Uint8Array(0);
  if (body.length !== undefined && body.length > limit) throw new OciError(tooLarge, { detail: { limit } });
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body.stream) {
    size += piece.byteLength;
    if (size > limit) throw new OciError(tooLarge, { detail: { limit } });
    pieces.push(piece);
  }
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.byteLength;
  }
  return whole;
}

/** Bytes of a form or a JSON document: they are small, and read into memory. */
const MAX_SMALL_BODY = 64 * 1024;

/** Refuses larger bodies of forms and JSON documents, announced or not. */
export const smallBodiesOnly = bodyLimit({
  maxSize: MAX_SMALL_BODY,
  onError: () => {
    throw new OciError('BODY_TOO_LARGE', { detail: { limit: MAX_SMALL_BODY } });
  },
});

/** A small body, read by hand: of a GET, `Request` allows no other. @throws OciError BODY_TOO_LARGE, SIZE_INVALID */
export function readSmallBody(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  return readWhole(request, MAX_SMALL_BODY, 'BODY_TOO_LARGE');
}
