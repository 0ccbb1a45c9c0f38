/** Counts and prints what holds and what does not, a line each. */
export class Checks {
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  /** The check holds unless it throws; what it answers is printed beside its name. */
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

  /** What a developer's machine may lack, CI must have. */
  missing(name: string, remedy: string): void {
    if (process.env['CI'] === 'true') return this.fail(name, remedy);
    this.#skipped += 1;
    console.warn(`\nSKIPPED ${name}\n    ${remedy}\n`);
  }

  /** Prints the totals, and answers whether all is well. */
  finish(): boolean {
    const skipped = this.#skipped === 0 ? '' : `, ${this.#skipped} skipped`;
    console.log(`${this.#passed} passed, ${this.#failed} failed${skipped}`);
    return this.#failed === 0;
  }
}
