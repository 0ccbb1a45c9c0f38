/** Wakes all that wait. Whoever is woken looks for itself whether what it waited for has happened. */
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

/** Returns what a promise comes to, or `otherwise` if that takes longer. */
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
