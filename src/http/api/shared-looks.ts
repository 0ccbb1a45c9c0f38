/**
 * Waits for something by looking at it repeatedly. When several requests of an isolate wait for the same thing, one
 * request looks and the others use its result. The longer they wait, the less often they look.
 *
 * Requests share the results of looks, never promises: a promise of another request may never settle. If a look takes
 * too long, another request looks itself.
 */

/** The pause after the first look, and the longest pause, in milliseconds. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [200, 2000];
const GROWTH = 1.25;
/** The longest wait for another request's look, and the time for which a finished one is kept. */
const KEPT_MILLISECONDS = 5000;

interface Look<Answer> {
  readonly begunAt: number;
  /** Undefined until the look has finished. */
  readonly seen: { readonly answer: Answer } | undefined;
}

export class SharedLooks<Answer> {
  /** In order of their start. */
  readonly #looks = new Map<string, Look<Answer>>();

  /**
   * Looks until `isDone`, or for `seconds`, and returns the last answer. The first look is always the request's own,
   * because the change that it waits for may be more recent than another request's look.
   * @param key identifies the thing that `look` looks at
   */
  async until(
    key: string,
    look: () => Promise<Answer>,
    isDone: (answer: Answer) => boolean,
    seconds: number,
  ): Promise<Answer> {
    const end = Date.now() + seconds * 1000;
    let answer: Answer = await this.#look(key, look);
    for (
      let pause = FIRST_PAUSE;
      !isDone(answer) && Date.now() + pause <= end;
      pause = Math.min(pause * GROWTH, LONGEST_PAUSE)
    ) {
      await new Promise((wake) => setTimeout(wake, pause));
      const now = Date.now();
      const last = this.#looks.get(key);
      const isRecent = last !== undefined && now - last.begunAt < (last.seen === undefined ? KEPT_MILLISECONDS : pause);
      if (!isRecent) answer = await this.#look(key, look);
      else if (last.seen !== undefined) ({ answer } = last.seen);
    }
    return answer;
  }

  async #look(key: string, look: () => Promise<Answer>): Promise<Answer> {
    const begunAt = Date.now();
    this.#remember(key, { begunAt, seen: undefined });
    try {
      const answer = await look();
      this.#remember(key, { begunAt, seen: { answer } });
      return answer;
    } catch (error) {
      this.#looks.delete(key);
      throw error;
    }
  }

  #remember(key: string, look: Look<Answer>): void {
    this.#looks.delete(key);
    this.#looks.set(key, look);
    for (const [oldest, { begunAt }] of this.#looks) {
      if (look.begunAt - begunAt < KEPT_MILLISECONDS) break;
      this.#looks.delete(oldest);
    }
  }
}
