/**
 * Shows how a copy goes: a bar for each blob on a terminal, a line every few seconds elsewhere, and nothing with
 * `--quiet`. Everything goes to standard error, because standard output is for results.
 */
import type { Digest } from '../../src/oci/digest.ts';
import type { BlobEnd, CopyProgress } from '../../src/oci-client/copy-image.ts';
import type { Descriptor } from '../../src/oci-client/descriptor.ts';
import { duration, size } from './terminal.ts';

const REDRAW_MS = 100;
const LINE_MS = 5000;
/** The time over which the rate is measured. */
const RATE_MS = 10_000;
const BAR_WIDTH = 24;

interface Blob {
  readonly digest: Digest;
  readonly size: number;
  bytes: number;
  end: BlobEnd | undefined;
  readonly rate: Rate;
}

export interface ProgressOptions {
  /** The word for work under way: `pushing`. */
  readonly verb: string;
  /** The word for a blob that has arrived: `pushed`. */
  readonly done: string;
  readonly quiet: boolean;
  readonly out?: NodeJS.WriteStream;
}

export class Progress implements CopyProgress {
  readonly #options: ProgressOptions;
  readonly #out: NodeJS.WriteStream;
  readonly #blobs = new Map<Digest, Blob>();
  readonly #rate = new Rate();
  #timer: NodeJS.Timeout | undefined;
  /** Lines on the terminal that the next drawing replaces. */
  #drawn = 0;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#out = options.out ?? process.stderr;
  }

  /** Prints a line about something other than a blob. */
  tell(line: string): void {
    if (!this.#options.quiet) this.#out.write(`${line}\n`);
  }

  planned(blobs: readonly Descriptor[]): void {
    for (const { digest, size: bytes } of blobs) {
      this.#blobs.set(digest, { digest, size: bytes, bytes: 0, end: undefined, rate: new Rate() });
    }
    if (this.#options.quiet) return;
    const isTerminal = this.#out.isTTY;
    this.#timer = setInterval(() => (isTerminal ? this.#draw() : this.#line()), isTerminal ? REDRAW_MS : LINE_MS);
  }

  bytes(digest: Digest, bytes: number): void {
    const blob = this.#blobs.get(digest);
    if (blob === undefined) return;
    // Bytes that are sent again count again. Bytes that an earlier push has sent do not count.
    if (blob.bytes > 0 && bytes > blob.bytes) {
      this.#rate.add(bytes - blob.bytes);
      blob.rate.add(bytes - blob.bytes);
    }
    blob.bytes = bytes;
  }

  ended(digest: Digest, how: BlobEnd): void {
    const blob = this.#blobs.get(digest);
    if (blob === undefined) return;
    blob.end = how;
    if (how === 'done') blob.bytes = blob.size;
  }

  /** Shows the last state, and nothing after it. */
  stop(): void {
    clearInterval(this.#timer);
    if (this.#timer === undefined) return;
    this.#timer = undefined;
    if (this.#out.isTTY) this.#draw();
    else this.#line();
  }

  #draw(): void {
    const rows = Math.max(2, this.#out.rows ?? 24);
    // If there is not room for all, finished blobs are the first to go.
    const blobs = [...this.#blobs.values()].toSorted((a, b) => Number(isOver(b)) - Number(isOver(a)));
    const lines = [...blobs.slice(-(rows - 2)).map((blob) => this.#bar(blob)), this.#summary()];
    const columns = this.#out.columns ?? 80;
    const up = this.#drawn > 0 ? `\u001B[${this.#drawn}A` : '';
    this.#out.write(`${up}\r${lines.map((line) => `\u001B[2K${line.slice(0, columns - 1)}\n`).join('')}\u001B[J`);
    this.#drawn = lines.length;
  }

  #line(): void {
    this.#out.write(`${this.#summary()}\n`);
  }

  #bar(blob: Blob): string {
    const name = blob.digest.replace(/^\w+:(.{12}).*/, '$1');
    if (blob.end !== undefined)
      return `${name}  ${blob.end === 'done' ? this.#options.done : blob.end}  ${size(blob.size)}`;
    if (blob.bytes === 0) return `${name}  waiting`;
    const filled = Math.min(BAR_WIDTH, Math.floor((BAR_WIDTH * blob.bytes) / Math.max(1, blob.size)));
    const bar = `[${'='.repeat(filled)}${' '.repeat(BAR_WIDTH - filled)}]`;
    return `${name}  ${bar}  ${howFar(blob.bytes, blob.size, blob.rate)}`;
  }

  #summary(): string {
    const blobs = [...this.#blobs.values()];
    const over = blobs.filter(isOver).length;
    // A blob that the destination already had takes no work.
    const work = blobs.filter(({ end }) => end !== 'exists' && end !== 'mounted');
    const [bytes, all] = [sum(work.map((blob) => blob.bytes)), sum(work.map((blob) => blob.size))];
    return `${this.#options.verb}: ${over} of ${blobs.length} blobs, ${howFar(bytes, all, this.#rate)}`;
  }
}

/** Returns bytes, rate and time left: `5.0 MB of 10.0 MB, 1.0 MB/s, 5 s left`. */
function howFar(bytes: number, all: number, rate: Rate): string {
  const perSecond = rate.perSecond();
  const speed =
    perSecond > 0 && bytes < all ? `, ${size(perSecond)}/s, ${duration((all - bytes) / perSecond)} left` : '';
  return `${size(bytes)} of ${size(all)}${speed}`;
}

/** Bytes per second, over the last few seconds. */
class Rate {
  #started: number | undefined;
  #samples: { readonly at: number; readonly bytes: number }[] = [];

  add(bytes: number): void {
    const last = this.#samples.at(-1);
    const now = Date.now();
    this.#started ??= now;
    // A sample for each tenth of a second is enough.
    if (last !== undefined && now - last.at < REDRAW_MS)
      this.#samples.splice(-1, 1, { at: last.at, bytes: last.bytes + bytes });
    else this.#samples.push({ at: now, bytes });
  }

  perSecond(): number {
    const now = Date.now();
    this.#samples = this.#samples.filter(({ at }) => now - at < RATE_MS);
    const milliseconds = Math.min(RATE_MS, Math.max(REDRAW_MS, now - (this.#started ?? now)));
    return (sum(this.#samples.map(({ bytes }) => bytes)) * 1000) / milliseconds;
  }
}

function isOver({ end }: Blob): boolean {
  return end !== undefined;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
