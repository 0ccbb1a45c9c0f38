/**
 * Calls to stores that never settle, without the time that the code under test would wait for them: the timer that it
 * sets right after such a call, which is the call's deadline, passes at once. All other timers are as they were.
 */
import { afterAll, beforeAll, vi } from 'vitest';

/** For each stalled call whose deadline is yet to be set: when that may pass. */
let expected: Promise<unknown>[] = [];

/** What a call answers that stalls. @param until its deadline passes when this has settled */
export function stalledCall(until: Promise<unknown> = Promise.resolve()): Promise<never> {
  expected.push(until.catch(() => undefined));
  return new Promise<never>(() => undefined);
}

/** For test files whose calls stall: they must be made within deadlines, or their callers wait for ever. */
export function passDeadlinesOfStalledCalls(): void {
  const { setTimeout: later } = globalThis;
  beforeAll(() => {
    expected = [];
    const stub = (callback: (...args: unknown[]) => void, milliseconds?: number, ...args: unknown[]): unknown => {
      const until = expected.shift();
      if (until === undefined) return later(callback, milliseconds, ...args);
      void until.then(() => later(callback, 0, ...args));
      // Nobody takes back the timer of a call that never settles; this is one that nobody waits for.
      return later(() => undefined);
    };
    vi.stubGlobal('setTimeout', stub);
  });
  afterAll(() => {
    vi.unstubAllGlobals();
    if (expected.length > 0) throw new Error(`${expected.length} calls that stalled had no deadline`);
  });
}
