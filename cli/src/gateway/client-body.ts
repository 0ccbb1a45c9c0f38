/**
 * The body of a client's request, cut into chunks. Memory is bounded by {@link Room}: a chunk is kept until the host
 * has it, so that it can be sent again.
 *
 * Where the length is known, a chunk is read from the client only as fast as the host takes it: a client that has sent
 * everything then waits only for the host's answer, and containerd waits no longer than 30 seconds. Where it is
 * unknown, a chunk is read before it is sent, because its request states its length; the next is read meanwhile.
 */
import type { IncomingMessage } from 'node:http';
import { Chunk } from './chunk.ts';
import type { Room } from './room.ts';

/** How long a client may send nothing while it is waited for. */
const STALLED_MS = 300_000;
/** How long a body is read on after its answer. A client that learns of a refusal stops sending. */
const DISCARD_MS = 10_000;

/** The error for a client that sends no more, although it has announced more. */
export class ClientStalled extends Error {
  override readonly name = 'ClientStalled';
}

export class ClientBody {
  /** Bytes, as the client states them. */
  readonly length: number | undefined;
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #room: Room;
  readonly #abort: AbortController;
  /** Read, and not yet part of a chunk. */
  #rest: Buffer | undefined;
  /** Bytes of the chunks so far, if the length is known. */
  #given = 0;

  /** @param abort is aborted once the client stalls, and stops the reading when anything else aborts it */
  constructor(incoming: IncomingMessage, room: Room, abort: AbortController) {
    const { 'content-length': length, 'transfer-encoding': encoding } = incoming.headers;
    this.length = encoding === undefined ? Number(length ?? 0) : undefined;
    this.#pieces = incoming[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.#room = room;
    this.#abort = abort;
  }

  /**
   * Cuts the body. There is always a first chunk, which may be empty. A chunk is gone once the next is asked for.
   * @param most returns the most bytes of the next chunk
   */
  async *chunks(most: () => number): AsyncGenerator<Chunk> {
    let next: Promise<Chunk> | undefined = this.#next(most());
    try {
      while (next !== undefined) {
        const chunk: Chunk = await next;
        const more = (): Promise<Chunk> | undefined => (chunk.isLast ? undefined : this.#next(most()));
        next = this.length === undefined ? more() : undefined;
        // A failure counts when the chunk's turn comes.
        next?.catch(() => undefined);
        try {
          yield chunk;
        } finally {
          chunk.forget();
        }
        if (this.length !== undefined) next = more();
      }
    } finally {
      next?.then((chunk) => chunk.forget()).catch(() => undefined);
    }
  }

  /** Reads a small body. @returns undefined if it has more than `most` bytes */
  async whole(most: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    let left = most;
    for (;;) {
      const piece = await this.#read(left + 1);
      if (piece === undefined) return Buffer.concat(pieces);
      left -= piece.length;
      if (left < 0) return undefined;
      pieces.push(piece);
    }
  }

  /**
   * Reads and drops the rest.
   * @returns whether it came to its end in time
   */
  async discard(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, DISCARD_MS, 'late');
    });
    try {
      for (;;) {
        const piece = await Promise.race([this.#read(Number.POSITIVE_INFINITY), late]);
        if (piece === undefined || piece === 'late') return piece === undefined;
      }
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Reads on. @returns undefined at the end. @throws ClientStalled; if the client is gone, the connection's error */
  async #read(most: number): Promise<Buffer | undefined> {
    const piece = this.#rest ?? (await this.#receive());
    this.#rest = piece !== undefined && piece.length > most ? piece.subarray(most) : undefined;
    return piece?.subarray(0, most);
  }

  async #isAtEnd(): Promise<boolean> {
    this.#rest ??= await this.#receive();
    return this.#rest === undefined;
  }

  async #receive(): Promise<Buffer | undefined> {
    const timer = setTimeout(() => {
      this.#abort.abort(new ClientStalled(`the client sent nothing for ${STALLED_MS / 1000} seconds`));
    }, STALLED_MS);
    try {
      const { done = false, value } = await this.#pieces.next();
      return done ? undefined : value;
    } finally {
      clearTimeout(timer);
    }
  }

  async #next(most: number): Promise<Chunk> {
    const known = this.length === undefined ? undefined : Math.min(most, this.length - this.#given);
    const room = await this.#room.take(known ?? most, this.#abort.signal);
    const chunk = new Chunk((bytes) => this.#read(bytes), known ?? most, room);
    if (known !== undefined) {
      this.#given += known;
      chunk.isLast = this.#given === this.length;
      return chunk;
    }
    try {
      await chunk.readAll();
      chunk.isLast = await this.#isAtEnd();
      return chunk;
    } catch (error) {
      chunk.forget();
      throw error;
    }
  }
}
