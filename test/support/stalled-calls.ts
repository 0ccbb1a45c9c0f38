/**
 * Calls to stores that never settle, without waiting for their deadlines. The timer that the code under test sets right
 * after such a call is the call's deadline, and passes at once. All other timers stay as they are.
 */
import { afterAll, beforeAll, vi } from 'vitest';

/** For each stalled call whose deadline is not yet set: a promise after which the deadline may pass. */
let expected: Promise<unknown>[] = [];

/** Returns the promise of a stalled call. @param until the deadline passes once this has settled */
export function stalledCall(until: Promise<unknown> = Promise.resolve()): Promise<never> {
  expected.push(until.catch(() => undefined));
  return new Promise<never>(() => undefined);
}

/** Lets the deadlines of stalled calls pass, for a test file. @throws afterwards if a stalled call had no deadline */
export function passDeadlinesOfStalledCalls(): void {
  const { setTimeout: later } = globalThis;
  beforeAll(() => {
    expected = [];
    const stub = (callback: (...args: unknown[]) => void, milliseconds?: number, ...args: unknown[]): unknown => {
      const until = expected.shift();
      if (until === undefined) return later(callback, milliseconds, ...args);
      void until.then(() => later(callback, 0, ...args));
      // Nobody clears the timer of a call that never settles, so any timer will do.
      return later(() => undefined);
    };
    vi.stubGlobal('setTimeout', stub);
  });
  afterAll(() => {
    vi.unstubAllGlobals();
    if (expected.length > 0) throw new Error(`${expected.length} stalled calls were made without a deadline`);
  });
}
