/** Going round a store in slices: when a task is due, and what is remembered after each slice. */
import type { Database } from '../stores/database.ts';
import { type MaintenanceTask, maintenanceTask } from '../stores/maintenance-rows.ts';

export const MINUTE = 60_000;
export const DAY = 24 * 60 * MINUTE;

/** The task as its last slice left it, or at the beginning of a round; undefined while it is not due. */
export async function dueTask(database: Database, name: string, now: number): Promise<MaintenanceTask | undefined> {
  const task = (await maintenanceTask(database, name)) ?? {
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
