/** How far the model goes: each scenario is explored whole, under every set of clocks. */
import { ALL_CLOCKS, type Clocks } from './clocks.ts';
import type { Limits } from './context.ts';

export interface Scenario {
  readonly name: string;
  readonly limits: Limits;
  readonly clocks: readonly Clocks[];
}

export const DEFAULT_DEPTH = 3;

/** @param depth operations on two tags and two manifests */
export function scenariosOf(depth: number): readonly Scenario[] {
  const two = { tags: 2, manifests: 2, byDigest: true } as const;
  const one = { tags: 1, manifests: 1, byDigest: true } as const;
  const long = { ...one, byDigest: false, reads: 0, disturbances: 0 };
  const clocks = ALL_CLOCKS;
  return [
    { name: 'two tags, two manifests', clocks, limits: { ...two, operations: depth, reads: 1, disturbances: 0 } },
    { name: 'two tags, two manifests, disturbed', clocks, limits: { ...two, operations: depth - 1, reads: 1, disturbances: 1 } },
    { name: 'one tag, one manifest', clocks: clocks.slice(0, 3), limits: { ...long, operations: depth + 3 } },
    { name: 'one tag, one manifest', clocks: clocks.slice(3), limits: { ...long, operations: depth + 2 } },
    { name: 'one tag, one manifest, read often', clocks, limits: { ...one, operations: depth, reads: 3, disturbances: 0 } },
    { name: 'one tag, one manifest, disturbed', clocks, limits: { ...one, operations: depth, reads: 0, disturbances: 1 } },
    {
      name: 'one tag, one manifest, disturbed twice',
      clocks,
      limits: { ...one, operations: depth - 1, reads: 1, disturbances: 2 },
    },
  ];
}

/** Where mistakes are looked for: little, and all that can happen to it. */
export const MISTAKEN: Limits = { tags: 1, manifests: 2, byDigest: true, operations: 3, reads: 1, disturbances: 1 };
