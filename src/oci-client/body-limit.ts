/** The largest request body that a host takes, as far as it is known. */

const MEBIBYTE = 1024 ** 2;
const UNKNOWN_BYTES = Number.MAX_SAFE_INTEGER;
/** Fits every plan of Cloudflare's, whose smallest limit is 100 MB, and is a multiple of all usual sizes of parts. */
const ASSUMED_BYTES = 64 * MEBIBYTE;
/** A host that refuses even this as too large has another reason. */
const LEAST_BYTES = MEBIBYTE;

export class BodyLimit {
  #bytes: number;
  /** Chunks are a multiple of this, which lets a registry keep them as equal parts. */
  #unit = 8 * MEBIBYTE;

  /** Begins without a limit, until the host states one, or refuses a body as too large. */
  static unknown(): BodyLimit {
    return new BodyLimit(UNKNOWN_BYTES);
  }

  /** @param bytes the user's limit for a chunk; by default, one that every plan allows */
  constructor(bytes = ASSUMED_BYTES) {
    this.#bytes = bytes;
  }

  /** The most bytes of a body: what the host takes, or less, because some callers keep a whole chunk in memory. */
  get bytes(): number {
    return this.#bytes < this.#unit ? this.#bytes : this.#bytes - (this.#bytes % this.#unit);
  }

  /** Takes the limits from an answer's headers `OCI-Chunk-Min-Length` and `OCI-Chunk-Max-Length`. */
  learn(headers: Headers): void {
    const [least, most] = [bytesIn(headers, 'oci-chunk-min-length'), bytesIn(headers, 'oci-chunk-max-length')];
    if (least !== undefined) this.#unit = least;
    if (most !== undefined) this.lower(most);
  }

  /** Assumes a limit that fits every host, unless one is known. */
  assume(): void {
    if (this.#bytes === UNKNOWN_BYTES) this.lower(ASSUMED_BYTES);
  }

  /** Lowers the limit, unless it is lower already. */
  lower(bytes: number): void {
    this.#bytes = Math.min(this.#bytes, bytes);
  }
}

/**
 * Returns the size to try after a body of `bytes` was refused as too large; undefined if the size can't be the reason.
 */
export function smallerThan(bytes: number): number | undefined {
  return bytes <= LEAST_BYTES ? undefined : Math.max(LEAST_BYTES, Math.min(ASSUMED_BYTES, Math.floor(bytes / 2)));
}

function bytesIn(headers: Headers, name: string): number | undefined {
  const value = headers.get(name) ?? '';
  return /^[1-9]\d{0,15}$/.test(value) ? Number(value) : undefined;
}
