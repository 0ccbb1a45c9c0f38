/** A flag that can be raised and lowered, and whose raising can be awaited. */
export class Signal {
  #next = Promise.withResolvers<void>();
  isRaised = false;

  raise(): void {
    this.isRaised = true;
    this.#next.resolve();
  }

  lower(): void {
    if (this.isRaised) this.#next = Promise.withResolvers<void>();
    this.isRaised = false;
  }

  /** Resolves when the signal is raised, or at once if it is. */
  raised(): Promise<void> {
    return this.#next.promise;
  }
}
