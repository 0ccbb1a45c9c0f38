/**
 * Explores every reachable state once, breadth-first, and finds the shortest path to a state that breaks an invariant.
 */
import type { Context } from './context.ts';
import { fingerprint } from './fingerprint.ts';
import { violation } from './invariants.ts';
import { eachMove } from './moves.ts';
import { START, type World } from './state.ts';
import { VisitedStates } from './visited-states.ts';

export interface Exploration {
  readonly states: number;
  /** Moves to the farthest state, by its shortest path. */
  readonly depth: number;
  readonly found: { readonly broken: string; readonly trace: readonly string[] } | undefined;
}

/** @param moves the greatest number of moves to look ahead */
export function explore(context: Context, moves = Infinity): Exploration {
  const visited = new VisitedStates();
  visited.add(...fingerprint(context, START), -1, 0);
  let frontier: { readonly id: number; readonly world: World }[] = [{ id: 0, world: START }];
  for (let depth = 0; ; depth++) {
    const next: typeof frontier = [];
    for (const { id, world } of frontier) {
      let move = 0;
      const bad: { readonly broken: string; readonly move: number }[] = [];
      eachMove(context, world, (_label, reached) => {
        const found = visited.add(...fingerprint(context, reached), id, move);
        if (found !== undefined && bad.length === 0) {
          const broken = violation(context, reached);
          if (broken === undefined) next.push({ id: found, world: reached });
          else bad.push({ broken, move });
        }
        move++;
      });
      const [first] = bad;
      if (first !== undefined) {
        const { broken, move: last } = first;
        return {
          states: visited.size,
          depth: depth + 1,
          found: { broken, trace: retrace(context, [...visited.path(id), last]) },
        };
      }
    }
    if (next.length === 0 || depth + 1 >= moves) return { states: visited.size, depth, found: undefined };
    frontier = next;
  }
}

/** Repeats moves to get their labels. */
function retrace(context: Context, moves: readonly number[]): string[] {
  const trace: string[] = [];
  let world: World = START;
  for (const chosen of moves) {
    let move = 0;
    let chosenWorld: World | undefined;
    eachMove(context, world, (label, reached) => {
      if (move++ !== chosen) return;
      trace.push(label());
      chosenWorld = reached;
    });
    if (chosenWorld === undefined) throw new Error(`there is no move ${chosen}`);
    world = chosenWorld;
  }
  return trace;
}
