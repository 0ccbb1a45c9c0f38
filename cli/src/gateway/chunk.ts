import type { Taken } from './room.ts';
import type { Repeatable } from '../../../src/oci-client/upload-session.ts';

/** The number of bytes to hand on at once. A connection brings 64 KiB at a time. */
const PIECE_BYTES = 512 * 1024;

/** A part of a client's body. It is read when it is first sent, and kept in memory until it is forgotten. */
export class Chunk implements Repeatable {
  isLast = false;
  #length: number;
  readonly #read: (most: number) => Promise<Buffer | undefined>;
  readonly #room: Taken;
  #pieces: Buffer[] = [];
  #held = 0;
  #reading: Promise<void> | undefined;

  /** @param read reads the next bytes of the body, at most `most` @param room room for `length` bytes */
  constructor(read: (most: number) => Promise<Buffer | undefined>, length: number, room: Taken) {
    this.#read = read;
    this.#length = length;
    this.#room = room;
  }

  get length(): number {
    return this.#length;
  }

  /** Reads all of it now. If the body ends early, so does the chunk. */
  async readAll(): Promise<void> {
    while (this.#held < this.#length) await this.#readOn();
    this.#room.keep(this.#length);
  }

  open(start: number, end: number): ReadableStream<Uint8Array> {
    let at = start;
    return new ReadableStream(
      {
        pull: async (controller) => {
          if (at >= this.#held) await this.#readOn();
          const bytes = this.#from(at, Math.min(end, at + PIECE_BYTES));
          if (bytes.length === 0) throw new Error('the body ended before its length');
          at += bytes.length;
          controller.enqueue(bytes);
          if (at === end) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Frees its memory. */
  forget(): void {
    this.#pieces = [];
    this.#room.keep(0);
  }

  /** Returns the bytes of a range, as far as it holds them. */
  #from(start: number, end: number): Uint8Array {
    const found: Buffer[] = [];
    let position = 0;
    for (const piece of this.#pieces) {
      if (position >= end) break;
      if (position + piece.length > start) found.push(piece.subarray(Math.max(0, start - position), end - position));
      position += piece.length;
    }
    return found.length === 1 ? (found[0] as Buffer) : Buffer.concat(found);
  }

  /** Reads once more. A request that broke may still be reading when the next one begins; the two share that read. */
  #readOn(): Promise<void> {
    this.#reading ??= this.#readPiece().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readPiece(): Promise<void> {
    const piece = await this.#read(this.#length - this.#held);
    if (piece === undefined) {
      this.#length = this.#held;
      return;
    }
    this.#pieces.push(piece);
    this.#held += piece.length;
  }
}
