/** Says once, to all who wait, that something has changed, until it is lowered. */
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

  /** Answers when it is raised. */
  raised(): Promise<void> {
    return this.#next.promise;
  }
}
