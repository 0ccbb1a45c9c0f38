/** Wall clocks, by operation: each operation happens at one moment, and every host reads its own clock. */
import type { HostIndex } from './state.ts';

const VERSIONS_PER_MILLISECOND = 1000;
const FIVE_MINUTES = 300_000;
/** Late enough for a clock that is behind. */
const START_MILLISECONDS = FIVE_MINUTES + 1;

export interface Clocks {
  readonly name: string;
  /** The wall clock of a host after as many operations, as a version. */
  versionAt(operations: number, host: HostIndex): number;
}

/** @param skews milliseconds by which central's and the nodes' clocks are ahead */
function clocks(name: string, millisecondsPerOperation: number, skews: readonly [number, number, number]): Clocks {
  return {
    name,
    versionAt: (operations, host) =>
      (START_MILLISECONDS + operations * millisecondsPerOperation + skews[host]) * VERSIONS_PER_MILLISECOND,
  };
}

/** node2 alone is never skewed: but for its name, which decides between equal versions, it is node1. */
export const ALL_CLOCKS: readonly Clocks[] = [
  clocks('equal', 1, [0, 0, 0]),
  clocks('within one millisecond', 0, [0, 0, 0]),
  clocks('central five minutes ahead', 1, [FIVE_MINUTES, 0, 0]),
  clocks('central five minutes behind', 1, [-FIVE_MINUTES, 0, 0]),
  clocks('node1 five minutes ahead', 1, [0, FIVE_MINUTES, 0]),
  clocks('node1 five minutes behind', 1, [0, -FIVE_MINUTES, 0]),
  clocks('node1 five minutes ahead, node2 five minutes behind', 1, [0, FIVE_MINUTES, -FIVE_MINUTES]),
  clocks('central five minutes ahead, node1 five minutes behind', 1, [FIVE_MINUTES, -FIVE_MINUTES, 0]),
];
