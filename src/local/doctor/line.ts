/** The result of a check. */

/** `not checked` says what was left out, and why. */
export type Outcome = 'ok' | 'warning' | 'failure' | 'not checked';

export interface Found {
  readonly outcome: Outcome;
  /** The observation, as a phrase. */
  readonly seen: string;
  /** The advice; null if there is nothing to do. */
  readonly todo: string | null;
}

export interface Line extends Found {
  readonly check: string;
  /** The host that was checked; null for the whole deployment. */
  readonly host: string | null;
}

export const ok = (seen: string): Found => ({ outcome: 'ok', seen, todo: null });
export const warning = (seen: string, todo: string): Found => ({ outcome: 'warning', seen, todo });
export const failure = (seen: string, todo: string): Found => ({ outcome: 'failure', seen, todo });
export const notChecked = (seen: string): Found => ({ outcome: 'not checked', seen, todo: null });

/** Ends a check with a failure. */
export class Failed extends Error {
  override readonly name = 'Failed';
  readonly todo: string;

  constructor(seen: string, todo: string) {
    super(seen);
    this.todo = todo;
  }
}
