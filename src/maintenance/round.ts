/** Going round a store in slices: a round starts when it is due, goes on where the last slice ended, and says what stops it. */
import { isUnavailable } from '../oci/errors.ts';
import { maintenanceTask, type MaintenanceTask, saveStop, saveTask } from './task-rows.ts';
import type { Store } from '../stores/store.ts';
import type { GcContext } from './context.ts';
import { asOf } from './slices.ts';

/** What a slice says: where the next one starts, undefined for the end of the round; and what it could not do, for an operator. */
export interface Slice {
  readonly position: string | undefined;
  readonly stopped?: string | undefined;
}

/** The slice did nothing and is to be tried again. Its message is for an operator. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}

const NEVER: Omit<MaintenanceTask, 'task'> = {
  position: '',
  round_started_at: 0,
  round_ended_at: null,
  last_slice_at: 0,
  next_at: 0,
  slices: 0,
  stopped: null,
};

/**
 * Runs slices of a task until its round ends, something stops it, or there is no more time. A slice can be killed anywhere
 * and is then repeated. A store that fails in the middle of one is said to stop the task, if it can still be written.
 * @param every milliseconds from the start of a round to the start of the next
 * @throws what the slice throws, but for Stopped
 */
export async function goRound(
  store: Store,
  name: string,
  every: number,
  { now, mayGoOn, rest }: Pick<GcContext, 'now' | 'mayGoOn' | 'rest'>,
  slice: (position: string) => Promise<Slice>,
): Promise<void> {
  let task = (await maintenanceTask(store.database, name)) ?? { ...NEVER, task: name };
  while (mayGoOn()) {
    const at = now();
    task = asOf(task, at);
    if (at < task.next_at) return;
    const done = await sliced(store, slice, task.position);
    task = after(task, done, at, every);
    // Where the slice failed, the task stays where it is: the slice may have written where to go on.
    await store.database.batch([done.failed ? saveStop(task) : saveTask(task)]);
    if (done.error !== undefined) throw done.error;
    if (done.failed || task.position === '') return;
    await rest(now() - at);
  }
}

function after(task: MaintenanceTask, { position, stopped, failed }: SliceOrFailure, at: number, every: number): MaintenanceTask {
  const starts = task.position === '';
  const started = starts ? at : task.round_started_at;
  const ended = !failed && position === undefined;
  return {
    task: task.task,
    position: position ?? '',
    round_started_at: started,
    round_ended_at: ended ? at : task.round_ended_at,
    last_slice_at: at,
    next_at: ended ? started + every : task.next_at,
    slices: starts ? 1 : task.slices + 1,
    stopped: stopped ?? null,
  };
}

interface SliceOrFailure extends Slice {
  readonly failed: boolean;
  /** What is thrown once the task says why it stopped: for the log. */
  readonly error?: unknown;
}

async function sliced({ name }: Store, slice: (position: string) => Promise<Slice>, position: string): Promise<SliceOrFailure> {
  try {
    return { ...(await slice(position)), failed: false };
  } catch (error) {
    if (error instanceof Stopped) return { position, stopped: error.message, failed: true };
    if (!isUnavailable(error)) throw error;
    const stopped = `the database or the bucket of ${name} does not answer: ${String(error.cause instanceof Error ? error.cause : error)}`;
    return { position, stopped, failed: true, error };
  }
}

/** An answer of a store; one that does not come stops the slice. @throws Stopped */
export async function answerOf<Answer>(what: string, asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (error) {
    throw isUnavailable(error) ? new Stopped(`${what} does not answer: nothing goes before it does`) : error;
  }
}
