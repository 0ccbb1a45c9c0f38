/** Plans that run before any random one. Random plans find these situations late. */
import { GRACE } from '../../../support/fixture.ts';
import type { HostName } from '../../../support/hosts.ts';
import { EQUAL, type Operation, type Plan, type Step, type Stop } from './operations.ts';

const HOUR = 3_600_000;
const ALL = 100;

const step = (operation: Operation, pause = 0, stop: Stop | null = null): Step => ({ pause, operation, stop });

const blobs = (
  host: HostName,
  repository: number,
  way: 'digest' | 'mount or digest' | 'head',
  manifest = 0,
): Operation => ({
  kind: 'blobs',
  host,
  repository,
  manifest,
  way,
});
const commit = (host: HostName, repository: number, manifest = 0): Operation => ({
  kind: 'commit',
  host,
  repository,
  manifest,
  tags: ['x'],
});
const gone = (repository: number): Operation => ({ kind: 'delete manifest', host: 'central', repository, manifest: 0 });

const METADATA: Operation = { kind: 'metadata', node: 'node1', turns: ALL };
const BYTES: Operation = { kind: 'bytes', node: 'node1', turns: ALL };
const COLLECT: Operation = { kind: 'collect central', turns: ALL, away: null };
const COLLECT_NODE: Operation = { kind: 'collect node', node: 'node1', turns: ALL };
const EVICT: Operation = { kind: 'evict', node: 'node1', turns: ALL, by: 'idleness' };

/** The calls with which an eviction marks rows, asks central, receives the release, and removes rows. */
const CALLS = [6, 8, 9, 10];

export const KNOWN_PLANS: readonly Plan[] = [
  // The node does not need its bytes, but central's manifests depend on them.
  {
    skews: EQUAL,
    steps: [
      step(blobs('node1', 0, 'digest')),
      step(commit('node1', 0)),
      step(METADATA),
      step(blobs('central', 1, 'mount or digest')),
      step(commit('central', 1)),
      step(gone(0)),
      step(METADATA),
      step(COLLECT_NODE, 2 * GRACE + 1),
      step(COLLECT_NODE, HOUR),
    ],
  },
  // An eviction is stopped. Meanwhile central loses its own bytes, and the node's bytes are needed again.
  ...CALLS.map((call): Plan => ({
    skews: EQUAL,
    steps: [
      step(blobs('node1', 0, 'digest')),
      step(commit('node1', 0)),
      step(blobs('node1', 1, 'mount or digest')),
      step(METADATA),
      step(BYTES),
      step(EVICT, 2 * GRACE + 1, { call, at: 'after', resume: 9 }),
      step(gone(0)),
      step(METADATA),
      step(COLLECT, 2 * GRACE + 1),
      step(commit('node1', 1)),
      step(METADATA),
      step(blobs('central', 0, 'mount or digest')),
      step(commit('central', 0)),
      step(gone(1)),
      step(METADATA),
      step(EVICT),
      step(COLLECT_NODE, HOUR),
    ],
  })),
  // A copy to central is killed once central has the row. Central's collection is killed once the row is gone. Then the
  // copy is due again.
  {
    skews: EQUAL,
    steps: [
      step(blobs('node1', 0, 'digest')),
      step(commit('node1', 0)),
      step(METADATA),
      step(BYTES, 0, { call: 9, at: 'after', resume: null }),
      step(gone(0)),
      step(COLLECT, 2 * GRACE + 1, { call: 7, at: 'after', resume: null }),
      step(commit('node1', 0)),
      step(METADATA),
      step(BYTES),
      step(COLLECT),
    ],
  },
  // A node is about to copy a blob down, finds it among its own bytes, and then loses those bytes.
  {
    skews: EQUAL,
    steps: [
      step(blobs('node1', 0, 'digest')),
      step(commit('node1', 0)),
      step(METADATA),
      step(BYTES),
      step(blobs('central', 1, 'mount or digest')),
      step(commit('central', 1)),
      step(gone(0)),
      step(METADATA),
      step({ kind: 'read blob', host: 'node1', repository: 1, blob: 0 }, 2 * GRACE + 1),
      step(BYTES, 0, { call: 3, at: 'after', resume: 1 }),
      step(COLLECT_NODE),
      step({ kind: 'pull digest', host: 'node1', repository: 1, manifest: 0 }),
      step(COLLECT_NODE, HOUR),
    ],
  },
  // A tag with a history is hidden with its evicted image, and the image comes back by digest.
  {
    skews: EQUAL,
    steps: [
      step(blobs('node1', 0, 'digest', 1)),
      step(commit('node1', 0, 1)),
      step(blobs('node1', 0, 'digest')),
      step(commit('node1', 0)),
      step(METADATA),
      step(BYTES),
      step(EVICT, 2 * GRACE + 1),
      step({ kind: 'pull digest', host: 'node1', repository: 0, manifest: 0 }),
      step(METADATA),
      step(BYTES),
    ],
  },
  // A client asks a node twice for a blob that only central has, and commits as late as it may.
  {
    skews: EQUAL,
    steps: [
      step(blobs('central', 0, 'digest')),
      step(blobs('node1', 0, 'head')),
      step(blobs('node1', 0, 'head'), GRACE),
      step(COLLECT, GRACE),
      step(commit('node1', 0)),
      step(METADATA),
      step(COLLECT),
    ],
  },
];
