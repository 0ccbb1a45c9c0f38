/**
 * What HTTP handlers need to hold bodies of requests and documents: the isolate's budget, and the reader that draws on
 * it.
 */
export { BufferedBody, SLOW_MILLISECONDS } from '../stores/uploads/buffered-body.ts';
export { BUDGET_BYTES, isolateBudget, type Loan } from '../stores/uploads/buffer-budget.ts';
export { STALLED_MILLISECONDS, STEP_BYTES } from '../stores/uploads/body-reader.ts';

/**
 * A document is in memory as bytes, as text, as what it says, and as text again on its way to the database: with
 * annotations in a script that takes two bytes a character, some six times.
 */
export const COPIES_OF_DOCUMENT = 6;
