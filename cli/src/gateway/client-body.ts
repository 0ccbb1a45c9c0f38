/**
 * The body of a client's request, cut into chunks. Memory is bounded by {@link Room}: a chunk is kept until the host
 * has it, so that it can be sent again.
 *
 * If the length is known, a chunk is read from the client only as fast as the host takes it. A client that has sent
 * everything then waits only for the host's answer. containerd waits at most 30 seconds for it. If the length is
 * unknown, a chunk is read before it is sent, because its request states its length. The next chunk is read meanwhile.
 */
import type { IncomingMessage } from 'node:http';
import { Chunk } from './chunk.ts';
import type { Room, Taken } from './room.ts';

/** The longest wait for a client, in milliseconds. */
export interface Patience {
  /** While it sends nothing. */
  readonly idleMs: number;
  /** While it sends less than {@link LEAST_PER_MS} into room that others wait for. */
  readonly awaitedMs: number;
}

export const PATIENCE: Patience = { idleMs: 300_000, awaitedMs: 30_000 };
/** The bytes that a client must send for each millisecond of waiting for it, once others wait for its room. */
const LEAST_PER_MS = 64;
/** The time between two looks at a client that is late. */
const LOOK_MS = 250;
/** The time for which to read a body after its answer. A client that learns of a refusal stops sending. */
const DISCARD_MS = 10_000;

/** The error for a client that sends no more, or too little, although it has announced more. */
export class ClientStalled extends Error {
  override readonly name = 'ClientStalled';
}

/** Room that a body fills, and how fast the client fills it. */
interface Filling {
  readonly room: Room;
  received: number;
  /** Milliseconds. */
  waited: number;
}

export class ClientBody {
  /** Bytes, as the client states them. */
  readonly length: number | undefined;
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #room: Room;
  readonly #abort: AbortController;
  readonly #patience: Patience;
  #filling: Filling | undefined;
  /** The room of a small body. */
  #taken: Taken | undefined;
  /** Read, and not yet part of a chunk. */
  #rest: Buffer | undefined;
  /** Bytes of the chunks so far, if the length is known. */
  #given = 0;

  /** @param abort aborted once the client stalls. If anything else aborts it, reading stops */
  constructor(incoming: IncomingMessage, room: Room, abort: AbortController, patience: Patience) {
    const { 'content-length': length, 'transfer-encoding': encoding } = incoming.headers;
    this.length = encoding === undefined ? Number(length ?? 0) : undefined;
    this.#pieces = incoming[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.#room = room;
    this.#abort = abort;
    this.#patience = patience;
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

  /**
   * Reads a small body into a room, until {@link ClientBody.forget}.
   * @returns undefined if it has more than `most` bytes
   */
  async whole(most: number, room: Room): Promise<Buffer | undefined> {
    if (this.length !== undefined && this.length > most) return undefined;
    if (this.length === 0 || (await this.#isAtEnd())) return Buffer.of();
    this.#taken = await this.#take(room, this.length ?? most);
    const pieces: Buffer[] = [];
    let bytes = 0;
    for (;;) {
      const piece = await this.#read(most - bytes + 1);
      if (piece === undefined) break;
      bytes += piece.length;
      if (bytes > most) return undefined;
      pieces.push(piece);
    }
    this.#taken.keep(bytes);
    return Buffer.concat(pieces);
  }

  /** Frees the room of a small body. */
  forget(): void {
    this.#taken?.keep(0);
  }

  /**
   * Reads and drops the rest, even after a stall, so that the client gets to see its answer.
   * @returns whether it came to its end in time
   */
  async discard(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, DISCARD_MS, 'late');
    });
    try {
      for (;;) {
        const piece = await Promise.race([this.#pieces.next(), late]);
        if (piece === 'late' || piece.done === true) return piece !== 'late';
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
    // A client that keeps sending a little may never be waiting when the timer looks, so look here as well.
    this.#look(0);
    const began = Date.now();
    const watch = setInterval(() => this.#look(Date.now() - began), LOOK_MS);
    try {
      const { done = false, value } = await unlessAborted(this.#pieces.next(), this.#abort.signal);
      if (this.#filling !== undefined) this.#filling.received += value?.length ?? 0;
      return done ? undefined : value;
    } finally {
      clearInterval(watch);
      if (this.#filling !== undefined) this.#filling.waited += Date.now() - began;
    }
  }

  /** Gives up on a client that has taken too long. @param waited milliseconds since its last bytes */
  #look(waited: number): void {
    const { idleMs, awaitedMs } = this.#patience;
    const { room, received = 0, waited: before = 0 } = this.#filling ?? {};
    if (waited >= idleMs) this.#abort.abort(new ClientStalled(`the client sent nothing for ${idleMs / 1000} seconds`));
    if (room?.isAwaited() === true && before + waited >= awaitedMs + received / LEAST_PER_MS) {
      this.#abort.abort(new ClientStalled('the client sent too slowly while others waited for its room'));
    }
  }

  async #take(room: Room, bytes: number): Promise<Taken> {
    const taken = await room.take(bytes, this.#abort.signal);
    this.#filling = { room, received: this.#rest?.length ?? 0, waited: 0 };
    return taken;
  }

  async #next(most: number): Promise<Chunk> {
    // The client has filled the room of the last chunk.
    this.#filling = undefined;
    const known = this.length === undefined ? undefined : Math.min(most, this.length - this.#given);
    // A client that sends nothing needs no room.
    if (known !== 0) await this.#isAtEnd();
    const room = await this.#take(this.#room, known ?? most);
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

function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason as Error);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave);
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}
