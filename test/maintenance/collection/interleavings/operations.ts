/** What a run is made of: plain data, so that a failure can be shrunk, printed and replayed. */
import type { HostName, NodeName } from '../../../support/hosts.ts';

export const REPOSITORIES = [0, 1] as const;
/** Of the manifests in `replication/content.ts`: two images that share a layer, and the index of both. */
export const MANIFESTS = [0, 1, 3] as const;
export const TAGS = ['x', 'y'] as const;
export const BLOBS = [0, 1, 2] as const;
export const NODES = ['node1', 'node2'] as const satisfies readonly NodeName[];

export type Target = { readonly host: HostName; readonly repository: number };

/** How the bytes of a blob get into a repository. */
export const FORMS = ['digest', 'post', 'patch', 'chunks', 'chunk and put'] as const;
export type Form = (typeof FORMS)[number];

/** In one of the forms; only where HEAD or a mount does not say that they are there; or HEAD, and nothing else. */
export type Way = Form | 'head or digest' | 'mount or digest' | 'head';

/** Tasks of maintenance. `turns`: how often one may go on. */
export type Work =
  | { readonly kind: 'collect central'; readonly turns: number; readonly away: NodeName | null }
  | { readonly kind: 'collect node'; readonly node: NodeName; readonly turns: number }
  | { readonly kind: 'evict'; readonly node: NodeName; readonly turns: number; readonly by: 'bytes' | 'idleness' }
  | { readonly kind: 'tombstones'; readonly turns: number }
  | { readonly kind: 'expired uploads' | 'change_log' };

export type Operation =
  /** Blobs that an image needs. */
  | (Target & { readonly kind: 'blobs'; readonly manifest: number; readonly way: Way })
  /** Its manifest alone, by digest, and with tags. */
  | (Target & { readonly kind: 'commit'; readonly manifest: number; readonly tags: readonly string[] })
  /** An upload that is begun, and cancelled or left. */
  | (Target & { readonly kind: 'upload'; readonly blob: number; readonly end: 'left' | 'cancelled' })
  | (Target & { readonly kind: 'delete tag'; readonly tag: string })
  | (Target & { readonly kind: 'delete manifest'; readonly manifest: number })
  | (Target & { readonly kind: 'delete blob'; readonly blob: number })
  | (Target & { readonly kind: 'delete repository' })
  | (Target & { readonly kind: 'pull'; readonly tag: string })
  | (Target & { readonly kind: 'pull digest'; readonly manifest: number })
  /** Of a client that has the manifest from elsewhere: the node then fetches the blob alone. */
  | (Target & { readonly kind: 'read blob'; readonly blob: number })
  /** A queue's run: follows and announces, or fetches, copies and settles. */
  | { readonly kind: 'metadata' | 'bytes'; readonly node: NodeName; readonly turns: number }
  | Work;

/** Where an operation is stopped: at a call to a store, counted from 0, before it is done or before it is answered. */
export interface Stop {
  readonly call: number;
  readonly at: 'before' | 'after';
  /** After how many steps it goes on; null: never, it was killed. */
  readonly resume: number | null;
}

export interface Step {
  /** Milliseconds that go by before. */
  readonly pause: number;
  readonly operation: Operation;
  readonly stop: Stop | null;
}

export interface Plan {
  /** By how much each host's clock is ahead, in milliseconds. */
  readonly skews: Readonly<Record<HostName, number>>;
  readonly steps: readonly Step[];
}

export const EQUAL = { central: 0, node1: 0, node2: 0 } as const;
