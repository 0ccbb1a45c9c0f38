/**
 * Time that passes only while nothing else can happen, so that a test counts what a client waits for, exactly and
 * without waiting. Timers of the code under test pass in it too.
 */
import { vi } from 'vitest';
import type { Gate } from './links.ts';

const { setTimeout: later } = globalThis;

/** Turns of the event loop without any change, after which nothing is under way. */
const QUIET_TURNS = 4;

export class VirtualTime {
  #working = 0;
  #changes = 0;

  /** Replaces the timers and Date until `vi.useRealTimers()`. */
  constructor() {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 0 });
  }

  /** Milliseconds. */
  readonly now = (): number => Date.now();

  /** Does work that takes real time, such as a call to a simulator. No virtual time passes meanwhile. */
  readonly real = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    this.#working++;
    try {
      return await work();
    } finally {
      this.#working--;
      this.#changes++;
    }
  };

  /** Returns a gate whose calls take as long as `millisecondsOf` says; one that takes Infinity is never answered. */
  gate(millisecondsOf: (call: string) => number): Gate {
    return async (call, work) => {
      const milliseconds = millisecondsOf(call);
      this.#changes++;
      if (milliseconds === Infinity) await new Promise(() => undefined);
      if (milliseconds > 0) await new Promise((done) => setTimeout(done, milliseconds));
      return this.real(work);
    };
  }

  /** Returns the virtual milliseconds that work takes. */
  async taken(work: () => Promise<unknown>): Promise<number> {
    const start = this.now();
    const progress = { isDone: false };
    const done = work().finally(() => (progress.isDone = true));
    done.catch(() => undefined);
    for (;;) {
      await this.#quiet();
      if (progress.isDone) break;
      if (vi.getTimerCount() === 0) throw new Error('the work waits for something other than time');
      vi.advanceTimersToNextTimer();
    }
    await done;
    return this.now() - start;
  }

  /** Waits until nothing is under way but timers. */
  async #quiet(): Promise<void> {
    let seen = -1;
    for (let turns = 0; turns < QUIET_TURNS; turns++) {
      if (this.#working > 0 || seen !== this.#changes) turns = 0;
      seen = this.#changes;
      await new Promise((done) => later(done, 0));
    }
  }
}
