/** Wakes everything that waits. Each waiter then checks its own condition, and waits again if it does not hold. */
export class Signal {
  #next: PromiseWithResolvers<void> | undefined;

  wait(): Promise<void> {
    this.#next ??= Promise.withResolvers<void>();
    return this.#next.promise;
  }

  fire(): void {
    this.#next?.resolve();
    this.#next = undefined;
  }
}

/** Work under way, whatever becomes of it. */
export class Pending {
  #last: Promise<void> = Promise.resolve();

  add(work: Promise<unknown>): void {
    this.#last = Promise.allSettled([this.#last, work]).then(() => undefined);
  }

  /** Settles once all work that was added before has ended. It never rejects. */
  settled(): Promise<void> {
    return this.#last;
  }
}

/** Returns the result of a promise, or `otherwise` if it takes longer. */
export async function orAfter<Answer, Otherwise>(
  milliseconds: number,
  asked: Promise<Answer>,
  otherwise: Otherwise,
): Promise<Answer | Otherwise> {
  const late = Promise.withResolvers<Otherwise>();
  const timer = setTimeout(() => late.resolve(otherwise), milliseconds);
  try {
    return await Promise.race([asked, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
