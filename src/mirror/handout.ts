/**
 * Hands out the bytes of a blob while they arrive, to any number of readers, each at its own pace.
 *
 * - The latest bytes are in memory (`window.ts`). A blob that is larger than one part is also kept in parts, which are
 *   objects, until it is stored. A reader that falls out of the window goes on from the parts.
 * - Only pinned readers slow the arrival: the one that writes the parts, and the one that checks the bytes.
 * - The last byte is held back until the digest has been checked. So every stream to the end of a wrong blob is
 *   broken. A shorter range is not checked.
 * - Once the blob is stored, readers go on from there.
 */
import { READ_MILLISECONDS } from '../stores/bucket.ts';
import { within } from '../stores/deadline.ts';
import type { BufferBudget } from '../stores/uploads/buffer-budget.ts';
import { orAfter, Signal } from './waiting.ts';
import { BLOCK_BYTES, Window, WINDOW_BYTES } from './window.ts';

/** Bytes of a part. A blob that is no larger has none: the window can hold it. */
export const PART_BYTES = WINDOW_BYTES;

/** Where parts are kept. The number of the first is 0. */
export interface Parts {
  /** Writes a part of `length` bytes. */
  put(number: number, pieces: AsyncIterable<Uint8Array>, length: number): Promise<void>;
  /** Opens bytes of a part; undefined if it is gone. */
  open(number: number, offset: number, length: number): Promise<ReadableStream<Uint8Array> | undefined>;
}

export interface HandoutOptions {
  /** Bytes. */
  readonly size: number;
  /** The bytes that are in parts already: a multiple of {@link PART_BYTES}, or all. */
  readonly landed: number;
  readonly parts: Parts;
  readonly budget: BufferBudget;
  /** The organization that the bytes count for. */
  readonly owner: string;
}

/** Opens the bytes from `start` to before `end` of the blob where it is stored. */
export type OpenStored = (start: number, end: number) => Promise<ReadableStream<Uint8Array>>;

/** The place of a reader. */
export interface Cursor {
  at: number;
}

/** Bytes of an object. */
interface Stored {
  readonly content: ReadableStream<Uint8Array>;
  readonly length: number;
}

type State =
  | { readonly kind: 'arriving' }
  | { readonly kind: 'checked'; readonly stored: OpenStored | undefined }
  | { readonly kind: 'broken'; readonly cause: unknown };

export class Handout {
  readonly size: number;
  readonly #parts: Parts;
  readonly #window: Window;
  readonly #readers = new Set<Cursor>();
  readonly #pins = new Set<Cursor>();
  readonly #lander: Cursor | undefined;
  /** The readers that open or stream a part. */
  readonly #inParts = new Set<Cursor>();
  /** Fires when readers may find more. */
  readonly #more = new Signal();
  /** Fires when a pinned reader has moved, and when another has ended. */
  readonly #moved = new Signal();
  #landed: number;
  #state: State = { kind: 'arriving' };

  constructor({ size, landed, parts, budget, owner }: HandoutOptions) {
    this.size = size;
    this.#parts = parts;
    this.#landed = landed;
    this.#window = new Window(landed, size, budget, owner);
    this.#lander = size > PART_BYTES ? this.pin(landed) : undefined;
  }

  /** The offset of the next byte to arrive. */
  get end(): number {
    return this.#window.end;
  }

  /** Whether the blob is kept in parts until it is stored. */
  get hasParts(): boolean {
    return this.#lander !== undefined;
  }

  /** Whether a reader needs the parts, now that the arrival is over. */
  get needsParts(): boolean {
    const isStored = this.#state.kind === 'checked' && this.#state.stored !== undefined;
    return isStored ? this.#inParts.size > 0 : this.#readers.size > 0;
  }

  /** Whether no more bytes will arrive. */
  get isOver(): boolean {
    return this.#state.kind !== 'arriving';
  }

  get isBroken(): boolean {
    return this.#state.kind === 'broken';
  }

  /** Resolves once there is a byte, or there will be none. */
  async begun(): Promise<void> {
    while (this.end === 0 && this.size > 0 && !this.isOver) await this.#more.wait();
  }

  /** Keeps the bytes from an offset on for a reader that begins later. */
  pin(at: number): Cursor {
    const cursor = { at };
    this.#pins.add(cursor);
    return cursor;
  }

  /** Borrows the first room. @throws OciError UNAVAILABLE */
  open(): Promise<void> {
    return this.#window.open();
  }

  /** Takes the next bytes. Waits while pinned readers need everything in memory. @throws the cause of a failure */
  async write(piece: Uint8Array): Promise<void> {
    for (let rest = piece; rest.byteLength > 0;) {
      this.#requireWhole();
      const taken = this.#window.append(rest);
      rest = rest.subarray(taken);
      if (taken > 0) this.#more.fire();
      else await this.#makeRoom();
    }
  }

  async #makeRoom(): Promise<void> {
    const { start, oldestEnd } = this.#window;
    const isPinned = isAnyIn(this.#pins, 0, oldestEnd);
    // Without parts, later readers need the first bytes, too.
    const isNeeded = isPinned || this.#lander === undefined || isAnyIn(this.#readers, start, oldestEnd);
    if (isNeeded && this.#window.grow()) return;
    if (isPinned) await this.#moved.wait();
    else this.#window.dropOldest();
  }

  /** Writes the parts, until the last or a failure. @param onLanded is told how many bytes are in parts */
  async land(onLanded: (bytes: number) => void): Promise<void> {
    const lander = this.#lander;
    if (lander === undefined) return;
    while (this.#landed < this.size) {
      const start = this.#landed;
      const end = Math.min(start + PART_BYTES, this.size);
      await this.#parts.put(start / PART_BYTES, this.read(start, end, lander), end - start);
      this.#landed = end;
      onLanded(end);
      this.#more.fire();
    }
    this.#shrink();
  }

  /**
   * Reads the bytes from `start` to before `end` for a pinned reader. The last byte is not held back from it.
   * @throws the cause of a failure
   */
  async *read(start: number, end: number, pin: Cursor): AsyncGenerator<Uint8Array> {
    pin.at = start;
    try {
      while (pin.at < end) {
        const next = await this.#next(pin, end, true);
        for await (const bytes of next instanceof Uint8Array ? [next] : largePieces(next.content)) {
          yield bytes;
          pin.at += bytes.byteLength;
          this.#moved.fire();
        }
      }
    } finally {
      this.#inParts.delete(pin);
    }
  }

  /** Streams the bytes from `start` to before `end`. The stream breaks off at a failure. */
  stream(start: number, end: number): ReadableStream<Uint8Array> {
    const { readable, writable } = new FixedLengthStream(end - start);
    this.copy(start, end, writable).catch(() => writable.abort(new Error('the blob broke off')).catch(() => undefined));
    return readable;
  }

  /** Writes the bytes from `start` to before `end`, and closes. @throws the cause of a failure */
  async copy(start: number, end: number, writable: WritableStream<Uint8Array>, signal?: AbortSignal): Promise<void> {
    const cursor = { at: start };
    this.#readers.add(cursor);
    try {
      while (cursor.at < end) {
        const next = await this.#next(cursor, end, false);
        if (next instanceof Uint8Array) await writeTo(writable, next);
        // The bytes do not pass through this isolate's memory.
        else await next.content.pipeTo(writable, { preventClose: true, preventAbort: true, ...(signal && { signal }) });
        cursor.at += next instanceof Uint8Array ? next.byteLength : next.length;
      }
      await writable.close();
    } finally {
      this.#readers.delete(cursor);
      this.#inParts.delete(cursor);
      this.#shrink();
      this.#moved.fire();
    }
  }

  /** Returns the next bytes for a reader, as soon as there are any. */
  async #next(cursor: Cursor, end: number, isPinned: boolean): Promise<Uint8Array | Stored> {
    const { at } = cursor;
    this.#inParts.delete(cursor);
    for (;;) {
      this.#requireWhole();
      const state = this.#state;
      const limit = isPinned || state.kind === 'checked' ? end : Math.min(end, this.size - 1);
      const bytes = at < limit ? this.#window.read(at, limit) : undefined;
      if (bytes !== undefined) return bytes;
      const stored = state.kind === 'checked' ? state.stored : undefined;
      if (stored !== undefined) return { content: await stored(at, end), length: end - at };
      if (at < Math.min(limit, this.#landed)) return this.#openPart(cursor, Math.min(limit, this.#landed));
      const isLost = !this.hasParts && at < this.#window.start && (isPinned || state.kind === 'checked');
      if (isLost) throw new Error('the bytes are no longer in memory');
      await this.#more.wait();
    }
  }

  async #openPart(cursor: Cursor, end: number): Promise<Stored> {
    const { at } = cursor;
    // Before the part is opened, because the parts may be deleted meanwhile.
    this.#inParts.add(cursor);
    const number = Math.floor(at / PART_BYTES);
    const offset = at - number * PART_BYTES;
    const length = Math.min(PART_BYTES - offset, end - at);
    const content = await this.#parts.open(number, offset, length);
    if (content === undefined) throw new Error(`part ${number} is gone`);
    return { content, length };
  }

  /** Ends the arrival, after the digest was checked. @param stored opens the blob, once it is stored */
  finish(stored: OpenStored | undefined): void {
    this.#end({ kind: 'checked', stored });
  }

  /** Resolves once all readers have their last byte, or after some milliseconds. */
  served(milliseconds: number): Promise<void> {
    return orAfter(milliseconds, this.#served(), undefined);
  }

  async #served(): Promise<void> {
    while (this.#readers.size > 0) await this.#moved.wait();
  }

  /** Ends the arrival and every read with the same failure, unless all bytes can still be read. */
  fail(cause: unknown): void {
    if (this.#state.kind !== 'checked' || !this.#isWhole) this.#end({ kind: 'broken', cause });
  }

  #end(state: Exclude<State, { readonly kind: 'arriving' }>): void {
    if (this.isBroken) return;
    this.#state = state;
    this.#shrink();
    this.#more.fire();
    this.#moved.fire();
  }

  /** Whether all bytes are in parts, or need none. */
  get #isWhole(): boolean {
    return !this.hasParts || this.#landed === this.size;
  }

  /** Frees memory that nobody needs any more. */
  #shrink(): void {
    const { kind } = this.#state;
    if (kind === 'arriving' || (kind === 'checked' && !this.#isWhole)) return;
    if (kind === 'broken' || this.#readers.size === 0) this.#window.close();
    else if (this.hasParts || this.#state.stored !== undefined) this.#window.shrink();
  }

  #requireWhole(): void {
    if (this.#state.kind === 'broken') throw this.#state.cause;
  }
}

function isAnyIn(cursors: ReadonlySet<Cursor>, start: number, end: number): boolean {
  for (const { at } of cursors) if (at >= start && at < end) return true;
  return false;
}

async function writeTo(writable: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = writable.getWriter();
  try {
    await writer.write(bytes);
  } finally {
    writer.releaseLock();
  }
}

/** Reads a stream in large pieces, because each piece has a cost of its own. */
async function* largePieces(content: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = content.getReader({ mode: 'byob' });
  try {
    for (;;) {
      const { value } = await within(READ_MILLISECONDS, reader.readAtLeast(BLOCK_BYTES, new Uint8Array(BLOCK_BYTES)));
      if (value === undefined || value.byteLength === 0) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
