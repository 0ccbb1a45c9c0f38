/** Remembers from the host's answers how many bytes it has of each upload, so that a chunk can say where it starts. */

/** The number of uploads to remember. The host can be asked for the sizes of older ones. */
const REMEMBERED = 1000;

export class Sessions {
  readonly #sizes = new Map<string, number>();

  remember({ href }: URL, size: number): void {
    this.#sizes.delete(href);
    this.#sizes.set(href, size);
    const [oldest] = this.#sizes.keys();
    if (this.#sizes.size > REMEMBERED && oldest !== undefined) this.#sizes.delete(oldest);
  }

  sizeOf({ href }: URL): number | undefined {
    return this.#sizes.get(href);
  }
}
