/** Reads answers within limits, because a registry may be hostile, or not a registry. */

/** The most bytes that an error, a token or a redirect may have. */
const MAX_TEXT_BYTES = 64 * 1024;

/** Returns the start of a small answer; '' if the connection breaks. Reading it frees the connection. */
export async function textOf(response: Response): Promise<string> {
  try {
    return new TextDecoder().decode(await bytesUpTo(response, MAX_TEXT_BYTES));
  } catch {
    return '';
  }
}

/** Reads a body, but at most `limit` bytes of it. */
export async function bytesUpTo(response: Response, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of piecesOf(response.body)) {
    const taken = piece.subarray(0, limit - length);
    pieces.push(taken);
    length += taken.byteLength;
    if (length >= limit) break;
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}

/** Reads a stream piece by piece. It is cancelled if its reader stops before its end. */
export async function* piecesOf(stream: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (stream === null) return;
  const reader = stream.getReader();
  let isOver = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      isOver = done;
      if (value === undefined) return;
      yield value;
    }
  } catch (error) {
    isOver = true;
    throw error;
  } finally {
    if (!isOver) await reader.cancel();
  }
}
