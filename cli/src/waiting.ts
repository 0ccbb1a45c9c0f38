/** Asks a registry again until something has happened, or a deadline has passed. */
import { setTimeout as pause } from 'node:timers/promises';
import { mayPass } from './api.ts';

/** The time that one request waits, and so the time between lines of progress. */
const REQUEST_SECONDS = 10;
const PAUSE_MS = 1000;

/**
 * Asks until `isDone`, and returns the last answer. A registry that is away for a while doesn't end the wait.
 * @param ask makes one request, which waits for some seconds at the registry
 * @param seen is called with every answer but the last
 * @returns undefined if the deadline has passed
 * @throws what the last request threw, if the deadline passed while the registry was away
 */
export async function untilDone<Answer>(
  seconds: number,
  ask: (waitSeconds: number) => Promise<Answer>,
  isDone: (answer: Answer) => boolean,
  seen: (answer: Answer) => void,
  pauseMs = PAUSE_MS,
): Promise<Answer | undefined> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const left = Math.max(0, end - Date.now());
    let failure: unknown;
    try {
      const answer = await ask(Math.min(REQUEST_SECONDS, left / 1000));
      if (isDone(answer)) return answer;
      seen(answer);
    } catch (error) {
      if (!mayPass(error)) throw error;
      failure = error;
    }
    if (Date.now() >= end) {
      if (failure === undefined) return undefined;
      throw failure;
    }
    // A request that has waited at the registry needs no pause here.
    if (failure !== undefined) await pause(Math.min(pauseMs, Math.max(0, end - Date.now())));
  }
}

/** Returns a function that prints a line on standard error, unless it printed the same one before. */
export function lineOnChange(): (line: string) => void {
  let last = '';
  return (line) => {
    if (line !== last) console.error(line);
    last = line;
  };
}
