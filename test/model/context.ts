/** The context of every move: the rules, the clocks and the limits. */
import type { Limits } from './limits.ts';
import { type HostIndex, type Message, putHost, type Store, type World } from './state.ts';
import type { Setting } from './world.ts';

export interface Context extends Setting {
  readonly limits: Limits;
}

/** Receives the world that a move leads to. `label` says what happened, for a trace. */
export type Visit = (label: () => string, next: World) => void;

export function withStore(world: World, host: HostIndex, store: Store): World {
  return { ...world, stores: putHost(world.stores, host, store) };
}

/** Returns the world with one more disturbance; undefined if the limit is reached. */
export function disturb({ limits }: Context, world: World): World | undefined {
  return world.disturbances < limits.disturbances ? { ...world, disturbances: world.disturbances + 1 } : undefined;
}

/** Visits the world in which a message is overtaken. */
export function disturbed(context: Context, world: World, message: Message, label: () => string, visit: Visit): void {
  const next = disturb(context, world);
  if (next !== undefined) visit(label, { ...next, astray: [...world.astray, message] });
}
