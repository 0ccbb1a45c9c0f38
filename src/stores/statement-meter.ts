/**
 * Counts the statements of one invocation. D1 may end an invocation after 1,000 queries (D1, "Limits"), and each
 * statement of a batch is a query.
 */

/** Thrown instead of a statement beyond the limit. The invocation is over, as if it had been killed. */
export class OutOfStatements extends Error {
  override readonly name = 'OutOfStatements';
}

/** After this many statements a run begins nothing new. The rest is for work that is under way. */
const STATEMENTS_OF_A_RUN = 600;

export class StatementMeter {
  #counted = 0;
  #limit = Infinity;

  get counted(): number {
    return this.#counted;
  }

  /** The number of statements that may still run. */
  get left(): number {
    return this.#limit - this.#counted;
  }

  /** Sets the number of statements that may run in all, including those counted so far. */
  allow(limit: number): void {
    this.#limit = limit;
  }

  /** Begins a run. @returns whether it may begin anything new: not after this time, nor after 600 statements */
  share(milliseconds: number): () => boolean {
    const [end, most] = [Date.now() + milliseconds, this.#counted + STATEMENTS_OF_A_RUN];
    return () => Date.now() < end && this.#counted < most;
  }

  /** Counts statements that are about to run. @throws OutOfStatements, and counts none, if they exceed the limit */
  count(statements: number): void {
    if (statements > this.left)
      throw new OutOfStatements(`this invocation has used ${this.#counted} of ${this.#limit} statements`);
    this.#counted += statements;
  }
}
