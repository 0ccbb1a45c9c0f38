/** Wall clocks. Each operation happens at one moment, and every host reads its own clock. */
import type { HostIndex } from './state.ts';

const VERSIONS_PER_MILLISECOND = 1000;
const FIVE_MINUTES = 300_000;
/** The time of the first operation, late enough that a clock that is behind does not show a negative time. */
const START_MILLISECONDS = FIVE_MINUTES + 1;

export interface Clocks {
  readonly name: string;
  /** Returns a host's wall clock after the given number of operations, as a version. */
  versionAt(operations: number, host: HostIndex): number;
}

/** @param skews milliseconds by which the clocks of central, node1 and node2 are ahead */
function clocks(name: string, millisecondsPerOperation: number, skews: readonly [number, number, number]): Clocks {
  return {
    name,
    versionAt: (operations, host) =>
      (START_MILLISECONDS + operations * millisecondsPerOperation + skews[host]) * VERSIONS_PER_MILLISECOND,
  };
}

/**
 * node2 is never skewed alone. It differs from node1 only by its name, which decides between equal versions.
 */
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
