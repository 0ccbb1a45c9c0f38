/** What HTTP handlers need to hold the bodies of requests: the isolate's budget, and the reader that draws on it. */
export { BufferedBody } from '../stores/buffered-body.ts';
export { isolateBudget } from '../stores/buffer-budget.ts';
export { STEP_BYTES } from '../stores/body-reader.ts';
