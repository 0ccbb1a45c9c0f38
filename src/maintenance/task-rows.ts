/**
 * The rows in which maintenance tasks keep their state at a store: where the next slice starts, when the last one ran,
 * what stopped it, and counters of the work done. A slice writes its position in the transaction of its work, or after
 * it, so every slice can be repeated.
 */
import { type BoundStatement, type Database, type Parameter, sql, sqlOfWholeTable } from '../stores/database.ts';
import { configured } from '../stores/rows-read.ts';

/** The state of a task at a store. Times are milliseconds since the epoch. */
export interface TaskState {
  readonly task: string;
  /** The start of the next slice, in the task's own format; '' at the start of a round. */
  readonly position: string;
  readonly round_started_at: number;
  /** When the last whole round ended; null for never. */
  readonly round_ended_at: number | null;
  /** When the last slice ended or saved its progress. */
  readonly last_slice_at: number;
  /** The earliest time at which the next slice may begin. */
  readonly next_at: number;
  /** Slices of the current round, or of the last one. */
  readonly slices: number;
  /**
   * The reason why the last slice, or an earlier one of its round, did not do its work, as a sentence for an operator;
   * null if all did.
   */
  readonly stopped: string | null;
}

/** The state without the position, which may be half a megabyte long. */
export type ShownTask = Omit<TaskState, 'position'>;

const SHOWN = 'task, round_started_at, round_ended_at, last_slice_at, next_at, slices, stopped';
const COLUMNS = 'task, position, round_started_at, round_ended_at, last_slice_at, next_at, slices, stopped';
const SELECT_TASK = sql`SELECT ${COLUMNS} FROM maintenance_tasks WHERE task = ?1`;
const SELECT_TASKS = sqlOfWholeTable`SELECT ${SHOWN} FROM maintenance_tasks ORDER BY task`.reading(configured);
const INSERT_TASK = `
  INSERT INTO maintenance_tasks (${COLUMNS})
  VALUES (?1, ?2, CAST(?3 AS INTEGER), CAST(?4 AS INTEGER), CAST(?5 AS INTEGER), CAST(?6 AS INTEGER),
    CAST(?7 AS INTEGER), ?8)`;
const SAVE_TASK = sql`
  ${INSERT_TASK}
  ON CONFLICT (task) DO UPDATE SET position = excluded.position, round_started_at = excluded.round_started_at,
    round_ended_at = excluded.round_ended_at, last_slice_at = excluded.last_slice_at, next_at = excluded.next_at,
    slices = excluded.slices, stopped = excluded.stopped`;

/** Returns the state of a task; undefined if it has never run. */
export function taskState(database: Database, task: string): Promise<TaskState | undefined> {
  return database.first<TaskState>(SELECT_TASK, task);
}

export function taskStates(database: Database): Promise<ShownTask[]> {
  return database.all<ShownTask>(SELECT_TASKS);
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
 * Saves that a slice failed. Unlike {@link saveTask}, it keeps the row's position. It also keeps the times at which the
 * round began and the next slice is due, unless a clock that was ahead wrote them.
 */
export function saveStop(task: TaskState): BoundStatement {
  return [SAVE_STOP, ...valuesOf(task)];
}

const WAKE_TASK = sql`UPDATE maintenance_tasks SET next_at = 0 WHERE task = ?1`;

/** Makes a task due now, at the position where it stopped. */
export function wakeTask(task: string): BoundStatement {
  return [WAKE_TASK, task];
}

const COUNT = sql`
  INSERT INTO maintenance_counters (name, value) VALUES (?1, CAST(?2 AS INTEGER))
  ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`;
const SELECT_COUNTERS = sqlOfWholeTable`SELECT name, value FROM maintenance_counters ORDER BY name`.reading(configured);

/** Adds to a counter, such as `collected_bytes`. Counters only grow. */
export function countMaintenance(name: string, by: number): BoundStatement {
  return [COUNT, name, by];
}

export async function maintenanceCounters(database: Database): Promise<ReadonlyMap<string, number>> {
  const rows = await database.all<{ name: string; value: number }>(SELECT_COUNTERS);
  return new Map(rows.map(({ name, value }) => [name, value]));
}
