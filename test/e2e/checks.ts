/** Runs checks, and prints one line for each result. */
export class Checks {
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  /** Runs a check, which passes unless it throws. The note that it returns is printed beside its name. */
  async check(name: string, body: () => Promise<string | void>): Promise<boolean> {
    try {
      const note = await body();
      this.#passed += 1;
      console.log(`ok ${name}${typeof note === 'string' ? ` (${note})` : ''}`);
      return true;
    } catch (error) {
      this.fail(name, error instanceof Error ? error.message : String(error));
      return false;
    }
  }

  fail(name: string, reason: string): void {
    this.#failed += 1;
    console.log(`FAILED ${name}\n${reason.trim().replaceAll(/^/gm, '    ')}`);
  }

  /** Skips checks whose requirements this machine lacks. In CI, that is a failure. */
  missing(name: string, remedy: string): void {
    if (process.env['CI'] === 'true') return this.fail(name, remedy);
    this.#skipped += 1;
    console.warn(`\nSKIPPED ${name}\n    ${remedy}\n`);
  }

  /** Prints the totals, and returns whether no check failed. */
  finish(): boolean {
    const skipped = this.#skipped === 0 ? '' : `, ${this.#skipped} skipped`;
    console.log(`${this.#passed} passed, ${this.#failed} failed${skipped}`);
    return this.#failed === 0;
  }
}
