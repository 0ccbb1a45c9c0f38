/** Plans that run before the random ones. Each is the reason for a rule of replication. */
import type { Fault, Operation, Plan, Step } from './operations.ts';

const EQUAL = { central: 0, node1: 0, node2: 0 };

function step(operation: Operation, fault: Fault | null = null): Step {
  return { pause: 0, operation, fault };
}

function push(host: 'central' | 'node1', image: number, tags: readonly string[]): Step {
  return step({ kind: 'push', host, repository: 0, image, tags, way: 'send' });
}

const ANNOUNCE: Operation = { kind: 'metadata', node: 'node1', turns: 100 };
const DELETE_TAG = step({ kind: 'delete tag', host: 'central', repository: 0, tag: 'x' });
const DELETION = { kind: 'delete manifest', host: 'central', repository: 0, image: 0 } as const;
const DELETE_MANIFEST = step(DELETION);

/** The calls of a queue's run in which something else happens, from its first look on. */
const CALLS = [3, 4, 5, 6, 7];

export const KNOWN_PLANS: readonly Plan[] = [
  // A tag or a manifest that a node has announced is deleted at central.
  { skews: EQUAL, steps: [push('node1', 0, ['x']), step(ANNOUNCE), DELETE_TAG] },
  { skews: EQUAL, steps: [push('node1', 0, ['x']), step(ANNOUNCE), DELETE_MANIFEST] },
  // A node deletes an image that it has just acknowledged.
  { skews: EQUAL, steps: [push('node1', 0, ['x']), step({ ...DELETION, host: 'node1' })] },
  // A node announces a write that has already lost.
  { skews: { ...EQUAL, central: 300_000 }, steps: [push('central', 0, ['x']), push('node1', 1, ['x'])] },
  // A manifest is committed long after central's promise of its blobs has ended.
  {
    skews: EQUAL,
    steps: [
      push('central', 0, []),
      DELETE_MANIFEST,
      step({ kind: 'reuse', host: 'node1', repository: 0, image: 0, tag: 'x', quarters: 9, collect: true }),
    ],
  },
  // A tag is pushed again while it is announced.
  ...CALLS.map((call): Plan => ({
    skews: EQUAL,
    steps: [
      push('node1', 0, ['x']),
      step(ANNOUNCE, { store: 'node1', call, effect: push('node1', 1, ['x']).operation }),
    ],
  })),
  // A queue is killed while it applies a deletion.
  ...CALLS.map((call): Plan => ({
    skews: EQUAL,
    steps: [
      push('node1', 0, ['x']),
      step(ANNOUNCE),
      DELETE_MANIFEST,
      step(ANNOUNCE, { store: 'node1', call, effect: 'away' }),
    ],
  })),
  // A node has the mirror of an organization that is removed.
  {
    skews: EQUAL,
    steps: [
      step({ kind: 'create organization' }),
      step({ kind: 'set mirror' }),
      step(ANNOUNCE),
      step({ kind: 'remove organization' }),
    ],
  },
];
