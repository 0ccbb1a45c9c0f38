/** The scenarios of the model. Each one is explored completely, under each of its sets of clocks. */
import { ALL_CLOCKS, type Clocks } from './clocks.ts';
import type { Limits } from './limits.ts';

export interface Scenario {
  readonly limits: Limits;
  readonly clocks: readonly Clocks[];
}

export const DEFAULT_DEPTH = 3;

/** The clocks under which versions tie, and so most orders of the same writes differ. */
const TIED = ALL_CLOCKS.filter(({ name }) => name === 'within one millisecond');

/** @param depth operations on two tags and two manifests */
export function scenariosOf(depth: number): readonly Scenario[] {
  // With disturbances, each operation multiplies the states by about sixty, so there the depth grows later.
  const disturbed = Math.max(depth - 1, Math.min(depth, DEFAULT_DEPTH));
  const two = { tags: 2, manifests: 2, byDigest: true, removals: 0 } as const;
  const one = { tags: 1, manifests: 1, byDigest: true, removals: 0 } as const;
  const typed = { ...one, types: 2 } as const;
  const alone = { reads: 0, disturbances: 0 } as const;
  const all: readonly Scenario[] = [
    { limits: { ...two, operations: depth, reads: 1, disturbances: 0 }, clocks: ALL_CLOCKS },
    { limits: { ...two, operations: disturbed, reads: 1, disturbances: 1 }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: disturbed + 3, ...alone }, clocks: TIED },
    { limits: { ...one, operations: depth + 3, ...alone, byDigest: false }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: depth + 2, ...alone }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: disturbed + 1, reads: 0, disturbances: 1 }, clocks: TIED },
    { limits: { ...one, operations: disturbed + 1, reads: 0, disturbances: 1, byDigest: false }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: depth + 1, reads: 2, disturbances: 0 }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: depth, reads: 3, disturbances: 0 }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: disturbed, reads: 0, disturbances: 2 }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: disturbed - 1, reads: 1, disturbances: 2 }, clocks: ALL_CLOCKS },
    { limits: { ...two, operations: depth, removals: 1, ...alone }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: depth + 1, removals: 2, ...alone }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: depth, removals: 2, reads: 1, disturbances: 0 }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: disturbed, removals: 2, reads: 0, disturbances: 1 }, clocks: ALL_CLOCKS },
    { limits: { ...one, operations: disturbed, removals: 1, reads: 1, disturbances: 1 }, clocks: TIED },
    { limits: { ...typed, operations: depth + 1, ...alone }, clocks: TIED },
    { limits: { ...typed, operations: depth, ...alone }, clocks: ALL_CLOCKS },
    { limits: { ...typed, operations: disturbed, reads: 1, disturbances: 1, byDigest: false }, clocks: TIED },
    { limits: { ...typed, operations: disturbed - 1, reads: 1, disturbances: 1, byDigest: false }, clocks: ALL_CLOCKS },
  ];
  return all.map((scenario) => withoutCovered(scenario, all)).filter(({ clocks }) => clocks.length > 0);
}

/** Keeps only the clocks under which no other scenario explores more, and no earlier scenario as much. */
function withoutCovered(scenario: Scenario, all: readonly Scenario[]): Scenario {
  const isBefore = (other: Scenario): boolean => all.indexOf(other) < all.indexOf(scenario);
  const larger = all.filter(
    (other) => isWithin(scenario.limits, other.limits) && (!isWithin(other.limits, scenario.limits) || isBefore(other)),
  );
  return { ...scenario, clocks: scenario.clocks.filter((set) => !larger.some(({ clocks }) => clocks.includes(set))) };
}

function isWithin(a: Limits, b: Limits): boolean {
  const counts = ['operations', 'removals', 'reads', 'disturbances', 'tags', 'manifests'] as const;
  const covers = (b.byDigest || !a.byDigest) && (a.types ?? 1) <= (b.types ?? 1);
  return counts.every((count) => a[count] <= b[count]) && covers;
}

/** Returns a scenario as a row of the table in docs/replication.md. */
export function cellsOf({ limits, clocks }: Scenario): readonly [things: string, ...counts: string[]] {
  const { tags, manifests, byDigest, operations, removals, reads, disturbances, types } = limits;
  const withTypes = types === undefined ? '' : ', under two media types';
  const pushes = `${byDigest ? 'by tag and by digest' : 'by tag'}${withTypes}`;
  const without = ALL_CLOCKS.filter((set) => !clocks.includes(set)).map(({ name }) => name);
  let under = clocks.map(({ name }) => name).join(', ');
  if (without.length === 0) under = `all ${ALL_CLOCKS.length}`;
  else if (without.length < clocks.length) under = `all but ${without.join(', ')}`;
  return [
    `${tags} and ${manifests}`,
    pushes,
    String(operations),
    String(removals),
    String(reads),
    String(disturbances),
    under,
  ];
}

/**
 * The parts that the default depth leaves out, for the log and docs/replication.md. `--depth` changes only the numbers.
 */
export const NOT_EXPLORED: readonly string[] = [
  'more than two nodes, two tags or two manifests',
  'with two tags and two manifests: more than 3 operations, more than one read or more than one disturbance',
  'more than 6 operations; pushes by digest with 6 operations, or with 4 and a disturbance, ' +
    'except under the clocks within one millisecond',
  'reads or disturbances with more than 4 operations; a read and a disturbance on one path with more than 3',
  'more than 3 reads or more than 2 disturbances; a read with two disturbances and more than 2 operations',
  'with two media types: more than one tag and manifest; more than 4 operations, or more than 3 with a read or a ' +
    'disturbance; that many, except under the clocks within one millisecond; pushes by digest with a read or a ' +
    'disturbance',
  'clocks that jump or drift during the operations, and skews other than five minutes',
  'removals on a path with more than 4 operations, more than one read or more than one disturbance; with two tags ' +
    'and two manifests: more than one removal, or one with a read or a disturbance',
  'blobs, except in the small models; the slices of a sweep, control data, collection, and stores that are away: ' +
    'other tests cover them',
];

/** The limits for finding mistakes: few things, and everything that can happen to them. */
export const MISTAKEN: Limits = {
  tags: 1,
  manifests: 2,
  byDigest: true,
  operations: 3,
  removals: 1,
  reads: 1,
  disturbances: 1,
};

/** The limits for finding mistakes about a second deletion of the same thing. */
export const MISTAKEN_TWICE: Limits = { ...MISTAKEN, manifests: 1, operations: 4, removals: 0, disturbances: 0 };

/** The limits for finding mistakes about media types. */
export const MISTAKEN_TYPES: Limits = { ...MISTAKEN, removals: 0, manifests: 1, types: 2, reads: 0, disturbances: 0 };
