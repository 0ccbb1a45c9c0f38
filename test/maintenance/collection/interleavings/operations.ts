/** Operations, steps and plans. They are plain data, so that a failure can be shrunk, printed and replayed. */
import type { HostName, NodeName } from '../../../support/hosts.ts';

export const REPOSITORIES = [0, 1] as const;
/** Manifests of `replication/content.ts`: two images that share a layer, and the index of both. */
export const MANIFESTS = [0, 1, 3] as const;
export const TAGS = ['x', 'y'] as const;
export const BLOBS = [0, 1, 2] as const;
export const NODES = ['node1', 'node2'] as const satisfies readonly NodeName[];

export type Target = { readonly host: HostName; readonly repository: number };

/** Ways to push the bytes of a blob. */
export const FORMS = ['digest', 'post', 'patch', 'chunks', 'chunk and put'] as const;
export type Form = (typeof FORMS)[number];

/** The ways in which a client makes sure of a blob: a push, a push only if a HEAD or a mount fails, or a HEAD alone. */
export type Way = Form | 'head or digest' | 'mount or digest' | 'head';

/** Maintenance tasks. `turns`: the most slices that it may begin. */
export type Work =
  | { readonly kind: 'collect central'; readonly turns: number; readonly away: NodeName | null }
  | { readonly kind: 'collect node'; readonly node: NodeName; readonly turns: number }
  | { readonly kind: 'evict'; readonly node: NodeName; readonly turns: number; readonly by: 'bytes' | 'idleness' }
  | { readonly kind: 'tombstones'; readonly turns: number }
  | { readonly kind: 'expired uploads' | 'change log' };

export type Operation =
  /** Pushes the blobs that an image needs. */
  | (Target & { readonly kind: 'blobs'; readonly manifest: number; readonly way: Way })
  /** Pushes a manifest alone, by digest and with tags. */
  | (Target & { readonly kind: 'commit'; readonly manifest: number; readonly tags: readonly string[] })
  /** Begins an upload, and cancels or abandons it. */
  | (Target & { readonly kind: 'upload'; readonly blob: number; readonly end: 'left' | 'cancelled' })
  | (Target & { readonly kind: 'delete tag'; readonly tag: string })
  | (Target & { readonly kind: 'delete manifest'; readonly manifest: number })
  | (Target & { readonly kind: 'delete blob'; readonly blob: number })
  | (Target & { readonly kind: 'delete repository' })
  | (Target & { readonly kind: 'pull'; readonly tag: string })
  | (Target & { readonly kind: 'pull digest'; readonly manifest: number })
  /** Reads one blob of an image whose manifest the client has. A node then copies down only that blob. */
  | (Target & { readonly kind: 'read blob'; readonly blob: number })
  /** A run of a queue: it applies the change log and announces, or it copies bytes up and down and settles. */
  | { readonly kind: 'metadata' | 'bytes'; readonly node: NodeName; readonly turns: number }
  | Work;

/**
 * The point at which an operation is stopped: at a call to a store, counted from 0, either before it is sent or before
 * its answer.
 */
export interface Stop {
  readonly call: number;
  readonly at: 'before' | 'after';
  /** The number of steps after which the operation goes on; null if it is killed. */
  readonly resume: number | null;
}

export interface Step {
  /** Milliseconds that pass before the step. */
  readonly pause: number;
  readonly operation: Operation;
  readonly stop: Stop | null;
}

export interface Plan {
  /** Milliseconds by which each host's clock is ahead. */
  readonly skews: Readonly<Record<HostName, number>>;
  readonly steps: readonly Step[];
}

export const EQUAL = { central: 0, node1: 0, node2: 0 } as const;
