/** What a model expects: an answer with one of these statuses and codes. */
import { expect } from 'vitest';
import type { Answer } from './exchange.ts';

/** A status, and for an error its code. */
export type Expected = `${number}` | `${number} ${string}`;

/** Every fault that a request has may be the one that is told; the order is the registry's own. */
export function expectOneOf(answer: Answer, expected: Iterable<Expected>, what: unknown): void {
  const told = answer.code === undefined ? String(answer.status) : `${answer.status} ${answer.code}`.trim();
  const accepted = [...expected].map((one) => (answer.code === '' ? (one.split(' ', 1)[0] ?? '') : one));
  expect(accepted, `${JSON.stringify(what)} was answered ${told}`).toContain(told);
}
