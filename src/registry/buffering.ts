/** What HTTP handlers need to hold the bodies of requests: the isolate's budget, and the reader that draws on it. */
export { BufferedBody } from '../stores/uploads/buffered-body.ts';
export { BUDGET_BYTES, isolateBudget } from '../stores/uploads/buffer-budget.ts';
export { STEP_BYTES } from '../stores/uploads/body-reader.ts';
