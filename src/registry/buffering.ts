/**
 * The tools with which HTTP handlers hold bodies and documents in memory: the isolate's budget, and a reader of bodies
 * that borrows from it.
 */
export { BufferedBody, SLOW_MILLISECONDS } from '../stores/uploads/buffered-body.ts';
export { BUDGET_BYTES, isolateBudget, type Loan } from '../stores/uploads/buffer-budget.ts';
export { STALLED_MILLISECONDS, STEP_BYTES } from '../stores/uploads/body-reader.ts';

/**
 * The memory that a document takes, as a multiple of its size. It is held as bytes, as text, as parsed values, and
 * again as text on its way to the database. With annotations in a script that takes two bytes per character, that is
 * about six.
 */
export const COPIES_OF_DOCUMENT = 6;
