/**
 * What the tasks of maintenance remember at a store: where the next slice starts, when the last one ran, what stopped
 * it, and how much they have done. A slice writes its position in the transaction of its work, or after it: every slice
 * can be repeated.
 */
import { type BoundStatement, type Database, type Parameter, sql, sqlOfWholeTable } from '../stores/database.ts';
import { asManyAs } from '../stores/rows-read.ts';

/** A task at a store. Times are milliseconds since the epoch. */
export interface TaskState {
  readonly task: string;
  /** Where the next slice starts, in the task's own notation; '' for the beginning of a round. */
  readonly position: string;
  readonly round_started_at: number;
  /** When the last whole round ended; null for never. */
  readonly round_ended_at: number | null;
  readonly last_slice_at: number;
  /** Not before then. */
  readonly next_at: number;
  /** Of the round that is under way, or that ended last. */
  readonly slices: number;
  /**
   * Why the last slice, or one before it in its round, did not do its work, as a sentence for an operator; null where
   * all did.
   */
  readonly stopped: string | null;
}

const COLUMNS = 'task, position, round_started_at, round_ended_at, last_slice_at, next_at, slices, stopped';
const SELECT_TASK = sql`SELECT ${COLUMNS} FROM maintenance_tasks WHERE task = ?1`;
const SELECT_TASKS = sqlOfWholeTable`SELECT ${COLUMNS} FROM maintenance_tasks ORDER BY task`.reading(asManyAs('tasks'));
const INSERT_TASK = `
  INSERT INTO maintenance_tasks (${COLUMNS})
  VALUES (?1, ?2, CAST(?3 AS INTEGER), CAST(?4 AS INTEGER), CAST(?5 AS INTEGER), CAST(?6 AS INTEGER),
    CAST(?7 AS INTEGER), ?8)`;
const SAVE_TASK = sql`
  ${INSERT_TASK}
  ON CONFLICT (task) DO UPDATE SET position = excluded.position, round_started_at = excluded.round_started_at,
    round_ended_at = excluded.round_ended_at, last_slice_at = excluded.last_slice_at, next_at = excluded.next_at,
    slices = excluded.slices, stopped = excluded.stopped`;

/** Undefined for one that has never run. */
export function taskState(database: Database, task: string): Promise<TaskState | undefined> {
  return database.first<TaskState>(SELECT_TASK, task);
}

export function taskStates(database: Database): Promise<TaskState[]> {
  return database.all<TaskState>(SELECT_TASKS);
}

export function saveTask(task: TaskState): BoundStatement {
  return [SAVE_TASK, ...valuesOf(task)];
}

function valuesOf(row: TaskState): Parameter[] {
  const { task, position, round_started_at, round_ended_at, last_slice_at, next_at, slices, stopped } = row;
  return [task, position, round_started_at, round_ended_at, last_slice_at, next_at, slices, stopped];
}

const SAVE_STOP = sql`
  ${INSERT_TASK}
  ON CONFLICT (task) DO UPDATE SET last_slice_at = excluded.last_slice_at, slices = excluded.slices,
    stopped = excluded.stopped,
    round_started_at = min(round_started_at, excluded.round_started_at), next_at = min(next_at, excluded.next_at)`;

/**
 * As {@link saveTask}, of a slice that failed: where the task is stays as the row says, and so does when it goes on,
 * unless that was written by a clock that was ahead.
 */
export function saveStop(task: TaskState): BoundStatement {
  return [SAVE_STOP, ...valuesOf(task)];
}

const WAKE_TASK = sql`UPDATE maintenance_tasks SET next_at = 0 WHERE task = ?1`;

/** Makes a task due at once, where it was left. */
export function wakeTask(task: string): BoundStatement {
  return [WAKE_TASK, task];
}

const COUNT = sql`
  INSERT INTO maintenance_counters (name, value) VALUES (?1, CAST(?2 AS INTEGER))
  ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`;
const SELECT_COUNTERS = sqlOfWholeTable`SELECT name, value FROM maintenance_counters ORDER BY name`.reading(
  asManyAs('counters'),
);

/** Adds to a counter, which only grows: `collected_bytes`. */
export function countMaintenance(name: string, by: number): BoundStatement {
  return [COUNT, name, by];
}

export async function maintenanceCounters(database: Database): Promise<ReadonlyMap<string, number>> {
  const rows = await database.all<{ name: string; value: number }>(SELECT_COUNTERS);
  return new Map(rows.map(({ name, value }) => [name, value]));
}
