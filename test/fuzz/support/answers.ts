/** The answers that a model expects: one of several statuses and codes. */
import { expect } from 'vitest';
import type { Answer } from './exchange.ts';

/** A status, followed by the code for an error. */
export type Expected = `${number}` | `${number} ${string}`;

/**
 * Expects one of the answers. A request with several faults may get the error of any: the registry chooses the order.
 */
export function expectOneOf(answer: Answer, expected: Iterable<Expected>, what: unknown): void {
  const told = answer.code === undefined ? String(answer.status) : `${answer.status} ${answer.code}`.trim();
  const accepted = [...expected].map((one) => (answer.code === '' ? (one.split(' ', 1)[0] ?? '') : one));
  expect(accepted, `${JSON.stringify(what)} was answered ${told}`).toContain(told);
}
