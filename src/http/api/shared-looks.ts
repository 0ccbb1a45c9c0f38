/**
 * Waiting for something by looking at it again and again. Of the requests of an isolate that wait for the same thing
 * one looks, and the others see what it saw; the longer they wait, the rarer the looks.
 *
 * Only what was seen is shared: a promise of another request may never settle. A look that does not end is taken over.
 */

/** Between the first two looks, and between looks at the end of a minute, in milliseconds. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [200, 2000];
const GROWTH = 1.25;
/** For how long a look of another request is waited for, and one that has ended is kept. */
const KEPT_MILLISECONDS = 5000;

interface Look<Answer> {
  readonly begunAt: number;
  /** Undefined while it is under way. */
  readonly seen: { readonly answer: Answer } | undefined;
}

export class SharedLooks<Answer> {
  /** The oldest first. */
  readonly #looks = new Map<string, Look<Answer>>();

  /**
   * Looks until `isDone`, or for `seconds`. The first look is the request's own: what it waits for may be younger than
   * what another has seen.
   * @param key names what is looked at: for the same key, every `look` sees the same
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
