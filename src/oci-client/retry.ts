import { RegistryError } from './registry-error.ts';
import type { Surroundings } from './surroundings.ts';
import { TransportError } from './transport.ts';

/** The most tries in a row without any progress. */
const ATTEMPTS = 6;
const FIRST_WAIT_MS = 500;
/** The longest wait by a timer, even if the registry asks for more. */
const LONGEST_WAIT_MS = 60_000;

/** Those above 504 are Cloudflare's, for what happens between its edge and a Worker. */
const TRANSIENT_STATUSES = new Set([408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 527, 530]);

/** Returns whether the same request may succeed later. */
export function isTransient(error: unknown): error is TransportError | RegistryError {
  return error instanceof TransportError || (error instanceof RegistryError && TRANSIENT_STATUSES.has(error.status));
}

/** Counts failures in a row, and waits after each: twice as long every time, or as long as the registry asks. */
export class Patience {
  readonly #surroundings: Pick<Surroundings, 'sleep'>;
  readonly #signal: AbortSignal | undefined;
  #failures = 0;

  constructor(surroundings: Pick<Surroundings, 'sleep'>, signal: AbortSignal | undefined) {
    this.#surroundings = surroundings;
    this.#signal = signal;
  }

  /** Forgets earlier failures, because the work got further. */
  renew(): void {
    this.#failures = 0;
  }

  /** Waits before another attempt. @throws the error, if it is permanent or came too often */
  async after(error: unknown): Promise<void> {
    this.#signal?.throwIfAborted();
    this.#failures += 1;
    if (!isTransient(error) || this.#failures >= ATTEMPTS) throw error;
    const backoff = FIRST_WAIT_MS * 2 ** (this.#failures - 1);
    const asked = error instanceof RegistryError ? retryAfter(error.headers) : undefined;
    // The wait is random, so that clients do not all come back at once.
    const wait = asked ?? backoff * (0.75 + Math.random() / 2);
    await (this.#surroundings.sleep ?? sleepBriefly)(wait, this.#signal, error);
  }
}

export async function withRetries<T>(
  surroundings: Pick<Surroundings, 'sleep'>,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
): Promise<T> {
  const patience = new Patience(surroundings, signal);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      await patience.after(error);
    }
  }
}

/** Returns how long a registry asks to wait, in milliseconds (RFC 9110 §10.2.3); undefined if it does not. */
function retryAfter(headers: Headers): number | undefined {
  const value = headers.get('retry-after');
  if (value === null) return undefined;
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

/** Waits by a timer, for a minute at most. @throws the signal's reason once it is aborted */
export function sleepBriefly(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener('abort', end);
        resolve();
      },
      Math.min(milliseconds, LONGEST_WAIT_MS),
    );
    signal?.addEventListener('abort', end, { once: true });
  });
}
