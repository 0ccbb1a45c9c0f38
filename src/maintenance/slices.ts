/** Going round a store in slices: when a task is due, and what is remembered after each slice. */
import type { Database } from '../stores/database.ts';
import { type MaintenanceTask, maintenanceTask } from './task-rows.ts';

export const MINUTE = 60_000;
export const DAY = 24 * 60 * MINUTE;

/** How far the clock of one machine may be ahead of another's. */
const SKEW = MINUTE;

/**
 * A task whose last slice, or round, lies ahead was written by a clock that has been set back since, and would rest for as long as
 * that clock was ahead. So it is due now, and its round began now; when the round before it ended is not known.
 */
export function asOf(task: MaintenanceTask, now: number): MaintenanceTask {
  const { round_started_at: started, round_ended_at: ended, last_slice_at: last } = task;
  if (Math.max(started, ended ?? 0, last) <= now + SKEW) return task;
  return {
    ...task,
    round_started_at: Math.min(started, now),
    round_ended_at: ended !== null && ended > now ? null : ended,
    last_slice_at: Math.min(last, now),
    next_at: Math.min(task.next_at, now),
  };
}

/** The task as its last slice left it, or at the beginning of a round; undefined while it is not due. */
export async function dueTask(database: Database, name: string, now: number): Promise<MaintenanceTask | undefined> {
  const saved = await maintenanceTask(database, name);
  const task: MaintenanceTask = (saved && asOf(saved, now)) ?? {
    task: name,
    position: '',
    round_started_at: now,
    round_ended_at: null,
    last_slice_at: now,
    next_at: 0,
    slices: 0,
    stopped: null,
  };
  if (task.next_at > now) return undefined;
  return task.position === '' ? { ...task, round_started_at: now, slices: 0 } : task;
}

/**
 * What a slice makes of its task.
 * @param position where the next one starts; '' once the round is over
 */
export function afterSlice(
  task: MaintenanceTask,
  now: number,
  next: { readonly position: string; readonly nextAt: number; readonly stopped?: string },
): MaintenanceTask {
  const { position, nextAt, stopped = null } = next;
  const ended = position === '' ? now : task.round_ended_at;
  return {
    ...task,
    position,
    round_ended_at: ended,
    last_slice_at: now,
    next_at: nextAt,
    slices: task.slices + 1,
    stopped,
  };
}
