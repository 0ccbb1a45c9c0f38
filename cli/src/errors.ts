/** Exit codes: 0 if all went well, 1 for a failure, 2 for wrong use. */

/** A failure whose message says what was wrong and what to do. The program prints it without a stack trace. */
export class Failure extends Error {
  readonly exitCode: number;
  constructor(message: string, options: ErrorOptions & { readonly exitCode?: 1 | 2 } = {}) {
    super(message, options);
    this.exitCode = options.exitCode ?? 1;
  }
}

/** The error for arguments that can't be carried out as they are. */
export class WrongUse extends Failure {
  constructor(message: string) {
    super(message, { exitCode: 2 });
  }
}
