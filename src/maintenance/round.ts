/**
 * The engine of maintenance: runs the tasks of `tasks.ts` at the stores, all in the same way.
 *
 *     a cron trigger → schedule.ts → a pass of tasks.ts → a lane → a task at a store → its slices
 *
 * A *task* is one file that exports `{ name, every, at, slice }`. A *slice* is a bounded piece of a task's work at one
 * store: it receives the position where it starts and returns the position where the next one starts. A *round* is all
 * the slices from one end of the store to the other. Each task has a row at each store (`task-rows.ts`), which keeps
 * the position, when the task is due again, and why it stopped; `/api/maintenance` and `/metrics` show that row. A
 * slice that finds nothing to do returns undefined, and its row is not written.
 *
 * - **Killed anywhere.** A position is written after the work, or with it, so every slice can be repeated.
 * - **Budgets.** The tasks of a pass share its limits on time and statements. A slice that exceeds the statements ends
 *   as if it had been killed, which is logged. A task pauses after each slice but the last, because D1 answers one
 *   query at a time.
 * - **Stopped.** A slice that throws `Stopped`, or whose store does not answer, keeps its position. Its row says why,
 *   and the next run tries again. An error delays no other task and no other store.
 * - **A clock that was ahead.** Times that such a clock wrote into a row are set back to now, so that no task waits for
 *   days. If the clock is set back during a run, that ends the pass, and the next pass takes the new time
 *   (`run-clock.ts`).
 *
 * To add a task, write one file and add one line to `tasks.ts`.
 */
import { MINUTE } from '../durations.ts';
import { logFailure } from '../log.ts';
import { isUnavailable } from '../oci/errors.ts';
import type { BoundStatement } from '../stores/database.ts';
import type { Store } from '../stores/store.ts';
import type { MaintenanceContext } from './context.ts';
import { Stopped } from './stopped.ts';
import { countMaintenance, saveStop, saveTask, type TaskState, taskState } from './task-rows.ts';

export interface Task {
  readonly name: string;
  /** Milliseconds from the start of a round to the start of the next; 0 for every run. */
  readonly every: (context: MaintenanceContext) => number;
  readonly at: 'central' | 'node' | 'every store';
  /**
   * Milliseconds for which a slice under way keeps other runs from beginning one; undefined if two at once do no harm.
   */
  readonly alone?: number;
  /** The milliseconds of a pass that the task may take; undefined for all. */
  readonly share?: number;
  /**
   * Does one slice of the task at a store.
   * @param state the task's state at the store; its position is '' at the start of a round
   * @param save saves the progress of a long slice, in case the run is killed
   * @returns undefined if there was nothing to do
   * @throws Stopped if the slice cannot do its work now
   */
  readonly slice: (
    context: MaintenanceContext,
    store: Store,
    state: TaskState,
    save: (progress: Slice) => Promise<void>,
  ) => Promise<Slice | undefined>;
}

export interface Slice {
  /** The start of the next slice, in the task's own format; undefined at the end of the round. */
  readonly position: string | undefined;
  /** The work that the slice could not do, as a sentence for an operator. */
  readonly stopped?: string | undefined;
  /** The earliest time at which the next slice may begin, in milliseconds since the epoch. */
  readonly notBefore?: number;
  /** Whether this run can do no more of the task, although it has time. */
  readonly isLast?: boolean;
  /** Amounts to add to the store's counters, by name. */
  readonly counts?: Readonly<Record<string, number>>;
}

/** Tasks that run one after another at each store. */
export interface Lane {
  readonly stores: 'all at once' | 'central first' | 'in turn';
  readonly tasks: readonly Task[];
}

/** Sums of the counters of a run, by name. */
export type Counts = Map<string, number>;

/**
 * Runs the tasks of a lane at their stores. A failure is logged, and stops only that task at that store.
 * @param all the stores of the run
 */
export async function runLane(
  context: MaintenanceContext,
  { stores, tasks }: Lane,
  all: readonly Store[],
  counts: Counts,
): Promise<void> {
  const began = context.now();
  const runAt = async (store: Store): Promise<void> => {
    for (const task of tasks) {
      if (!isAt(context, task, store)) continue;
      const { share = Infinity } = task;
      const mayGoOn = (): boolean => context.now() - began < share && context.mayGoOn();
      await goRound({ ...context, mayGoOn }, task, store, counts).catch((error: unknown) => {
        logFailure({ maintenance: String(error), task: task.name, store: store.name });
      });
    }
  };
  for (const together of inOrder(context, stores, all)) await Promise.all(together.map(runAt));
}

function isAt({ central }: MaintenanceContext, { at }: Task, store: Store): boolean {
  return at === 'every store' || (at === 'central') === (store === central);
}

function inOrder(
  { central }: MaintenanceContext,
  order: Lane['stores'],
  all: readonly Store[],
): readonly (readonly Store[])[] {
  switch (order) {
    case 'all at once':
      return [all];
    case 'central first':
      return [[central], all.filter((store) => store !== central)];
    case 'in turn':
      return all.map((store) => [store]);
  }
}

/**
 * Runs slices of a task at a store until its round ends, something stops it, or time runs out.
 * @throws every error of a slice except Stopped
 */
export async function goRound(
  context: MaintenanceContext,
  task: Task,
  store: Store,
  counts: Counts = new Map(),
): Promise<void> {
  const { database } = store;
  while (context.mayGoOn()) {
    const began = context.now();
    let state = await dueState(store, task.name, began);
    if (state === undefined) return;
    if (task.alone !== undefined) {
      state = { ...state, last_slice_at: began, next_at: began + task.alone };
      await database.batch([saveTask(state)]);
    }
    const begun = state;
    const save = async (slice: Slice): Promise<void> => {
      state = afterSlice(begun, slice, context.now(), task.every(context));
      await database.batch([saveTask(state), ...counting(slice.counts, counts)]);
    };
    let slice: Slice | undefined;
    try {
      slice = await task.slice(context, store, state, save);
      if (slice === undefined && state.stopped === null) return;
      await save(slice ?? { position: undefined });
    } catch (error) {
      const stop = stopOf(error, store);
      // The row's position stays: the slice itself may have saved a newer one.
      const row = { ...state, last_slice_at: context.now(), slices: begun.slices + 1, stopped: stop.message };
      await database.batch([saveStop(row)]).catch((failure: unknown) => {
        throw stop.cause ?? failure;
      });
      if (stop.cause !== undefined) throw stop.cause;
      return;
    }
    if (state.position === '' || slice?.isLast === true) return;
    await context.pause(context.now() - began);
  }
}

/** Returns the task as its last slice left it, or at the start of a round; undefined while it is not due. */
async function dueState({ database }: Store, name: string, now: number): Promise<TaskState | undefined> {
  const saved = await taskState(database, name);
  const state = saved === undefined ? neverRun(name) : asOf(saved, now);
  if (state.next_at > now) return undefined;
  return state.position === '' ? { ...state, round_started_at: now, slices: 0 } : state;
}

function neverRun(task: string): TaskState {
  return {
    task,
    position: '',
    round_started_at: 0,
    round_ended_at: null,
    last_slice_at: 0,
    next_at: 0,
    slices: 0,
    stopped: null,
  };
}

/** The most that the clock of one machine may be ahead of another's. */
const SKEW = MINUTE;

/**
 * Corrects the times that a clock wrote before it was set back. If a task's last slice or round lies in the future, the
 * task would otherwise wait for as long as that clock was ahead. So the task is due now, and its round begins now. It
 * is unknown when its previous round ended.
 */
function asOf(state: TaskState, now: number): TaskState {
  const { round_started_at: started, round_ended_at: ended, last_slice_at: last } = state;
  if (Math.max(started, ended ?? 0, last) <= now + SKEW) return state;
  return {
    ...state,
    round_started_at: Math.min(started, now),
    round_ended_at: ended !== null && ended > now ? null : ended,
    last_slice_at: Math.min(last, now),
    next_at: Math.min(state.next_at, now),
  };
}

/** @param at when the slice ended, or saved its progress */
function afterSlice(state: TaskState, { position, stopped, notBefore }: Slice, at: number, every: number): TaskState {
  const ended = position === undefined;
  return {
    ...state,
    position: position ?? '',
    round_ended_at: ended ? at : state.round_ended_at,
    last_slice_at: at,
    next_at: ended
      ? Math.max(state.round_started_at + every, notBefore ?? 0)
      : (notBefore ?? Math.min(state.next_at, at)),
    slices: state.slices + 1,
    stopped: stopped ?? null,
  };
}

/** Returns statements that add to the store's counters, and adds the same amounts to the run's sums. */
function counting(by: Slice['counts'], sums: Counts): BoundStatement[] {
  return Object.entries(by ?? {}).flatMap(([name, amount]) => {
    if (amount === 0) return [];
    sums.set(name, (sums.get(name) ?? 0) + amount);
    return [countMaintenance(name, amount)];
  });
}

/**
 * Returns why the slice did not do its work. The `cause` is for the log.
 * @throws the error itself, if it is neither Stopped nor UNAVAILABLE
 */
function stopOf(error: unknown, { name }: Store): Stopped {
  if (error instanceof Stopped) return error;
  if (!isUnavailable(error)) throw error;
  const cause = error.cause instanceof Error ? error.cause : error;
  return new Stopped(`the database or the bucket of ${name} does not answer: ${String(cause)}`, { cause: error });
}
