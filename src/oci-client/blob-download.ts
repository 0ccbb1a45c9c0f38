/**
 * Reads a blob. After the connection has broken, it continues where it stopped (distribution-spec, "Pulling blobs").
 */
import { piecesOf } from './answer.ts';
import type { Content } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { RegistryError } from './registry-error.ts';
import type { Repository } from './repository.ts';
import { Patience } from './retry.ts';
import { TransportError } from './transport.ts';

/**
 * Reads a part of a blob: exactly the bytes from `start` to before `end`. The whole is not checked against its digest,
 * because the caller may have the rest already.
 * @param begun the answer to a request for the whole blob, to be read first; undefined to ask
 * @throws RegistryError, TransportError
 */
export async function* blobPieces(
  repository: Repository,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  start = 0,
  end = size,
  begun?: Response,
): AsyncGenerator<Uint8Array> {
  const patience = new Patience(repository.host.surroundings, repository.signal);
  let at = start;
  let answer = begun;
  while (at < end) {
    const before = at;
    try {
      const response = answer ?? (await repository.getBlob(digest, at, end, at === 0 && end === size));
      answer = undefined;
      // A registry that ignores the range begins at the first byte.
      let position = response.status === 206 ? startOf(response, at) : 0;
      for await (const piece of brokenWhereItBreaks(response)) {
        const skipped = Math.min(at - position, piece.byteLength);
        position += piece.byteLength;
        const wanted = piece.subarray(skipped, skipped + end - at);
        at += wanted.byteLength;
        if (wanted.byteLength > 0) yield wanted;
        if (at >= end) break;
      }
      if (at < end) throw new TransportError(`${digest} ended after ${at} of ${size} bytes`);
    } catch (error) {
      if (at > before) patience.renew();
      await patience.after(error);
    }
  }
}

/** Returns a blob of a repository as content that an upload can send. */
export function contentOf(repository: Repository, { digest, size }: Pick<Descriptor, 'digest' | 'size'>): Content {
  return {
    digest,
    size,
    open: (start, end) => streamOf(blobPieces(repository, { digest, size }, start, end)),
  };
}

/** Makes a stream of pieces, which are asked for one by one. */
export function streamOf(pieces: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (value !== undefined) controller.enqueue(value);
        if (done === true) controller.close();
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* brokenWhereItBreaks({ body }: Response): AsyncGenerator<Uint8Array> {
  const pieces = piecesOf(body);
  try {
    for (;;) {
      let next: IteratorResult<Uint8Array>;
      try {
        next = await pieces.next();
      } catch (cause) {
        throw new TransportError(`the connection broke: ${String(cause)}`, { cause });
      }
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await pieces.return(undefined);
  }
}

/** Returns the first byte of an answer with status 206 (RFC 9110 §14.4). */
function startOf(response: Response, asked: number): number {
  const start = /^bytes (\d+)-\d+\//.exec(response.headers.get('content-range') ?? '')?.[1];
  if (start !== undefined && Number(start) <= asked) return Number(start);
  const host = response.url === '' ? 'the registry' : new URL(response.url).host;
  throw new RegistryError(host, response, `a range from byte ${asked} was answered with another`);
}
