/**
 * Bounds the memory that bodies of requests, or chunks of them, take together. Those who wait get room in the order in
 * which they asked.
 */
export class Room {
  #free: number;
  readonly #waiting: { readonly bytes: number; readonly enter: () => void }[] = [];

  constructor(bytes: number) {
    this.#free = bytes;
  }

  /**
   * Waits for room. Each holder gives its room back once its chunk is sent, or once its client is too slow while others
   * wait. Sending and receiving have deadlines, so the wait ends.
   * @throws the signal's reason once it is aborted
   */
  async take(bytes: number, signal: AbortSignal): Promise<Taken> {
    signal.throwIfAborted();
    if (this.#waiting.length > 0 || bytes > this.#free) await this.#queue(bytes, signal);
    else this.#free -= bytes;
    return new Taken(bytes, (freed) => {
      this.#free += freed;
      this.#admit();
    });
  }

  /** Tells whether anyone waits for room. */
  isAwaited(): boolean {
    return this.#waiting.length > 0;
  }

  #queue(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        this.#admit();
        reject(signal.reason as Error);
      };
      const enter = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const waiting = { bytes, enter };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  #admit(): void {
    for (let [first] = this.#waiting; first !== undefined && first.bytes <= this.#free; [first] = this.#waiting) {
      this.#waiting.shift();
      this.#free -= first.bytes;
      first.enter();
    }
  }
}

/** The room of one chunk. */
export class Taken {
  #bytes: number;
  readonly #free: (bytes: number) => void;

  constructor(bytes: number, free: (bytes: number) => void) {
    this.#bytes = bytes;
    this.#free = free;
  }

  /** Gives back all but `bytes`. */
  keep(bytes: number): void {
    if (bytes >= this.#bytes) return;
    this.#free(this.#bytes - bytes);
    this.#bytes = bytes;
  }
}
