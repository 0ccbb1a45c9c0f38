/** The data of a run of the convergence test. It is plain, so that a failure can be shrunk, printed and replayed. */
import * as fc from 'fast-check';
import { HOST_NAMES, type HostName, type NodeName } from '../support/hosts.ts';

export const REPOSITORIES = [0, 1] as const;
export const IMAGES = [0, 1, 2] as const;
export const TAGS = ['x', 'y'] as const;
export const BLOBS = [0, 1, 2, 3] as const;
const NODES: readonly NodeName[] = ['node1', 'node2'];

export type Target = { readonly host: HostName; readonly repository: number };

/**
 * The ways in which a client pushes a blob: it always sends it, sends it only if HEAD does not find it, or mounts it if
 * possible.
 */
export type Way = 'send' | 'head' | 'mount';

export type Operation =
  | (Target & {
      readonly kind: 'push';
      readonly image: number;
      readonly tags: readonly string[];
      readonly way: Way;
    })
  /** Pushes both images and then their index, each to the tag, as containerd does. */
  | (Target & { readonly kind: 'push index'; readonly tag: string; readonly way: Way })
  /** A HEAD of an image's blobs; then time passes, central may collect, and the image is committed. */
  | (Target & {
      readonly kind: 'reuse';
      readonly image: number;
      readonly tag: string;
      /** Quarters of the grace time that pass. */
      readonly quarters: number;
      readonly collect: boolean;
    })
  | (Target & { readonly kind: 'delete tag'; readonly tag: string })
  | (Target & { readonly kind: 'delete manifest'; readonly image: number })
  | (Target & { readonly kind: 'delete blob'; readonly blob: number })
  | (Target & { readonly kind: 'delete repository' })
  | (Target & { readonly kind: 'pull'; readonly tag: string })
  | (Target & { readonly kind: 'pull digest'; readonly image: number })
  | (Target & { readonly kind: 'list'; readonly limit: number })
  | { readonly kind: 'visibility'; readonly repository: number; readonly isPublic: boolean }
  | { readonly kind: 'create credential' | 'remove credential'; readonly name: string }
  | { readonly kind: 'create organization' | 'remove organization' }
  | { readonly kind: 'set mirror' | 'remove mirror' }
  /** A run of a queue with a limited number of turns; and a queue that loses its memory. */
  | { readonly kind: 'metadata' | 'bytes'; readonly node: NodeName; readonly turns: number }
  | { readonly kind: 'restart'; readonly node: NodeName }
  | { readonly kind: 'collect' };

/**
 * A fault of one call to a store. The call fails before or after it takes effect, takes effect too late, or never
 * answers, with or without effect. With `away`, neither it nor any later call is answered until the operation ends. If
 * the effect is an operation, that operation runs while the call is held.
 */
export interface Fault {
  readonly store: HostName;
  /** Number of the call, counted from 0 in each operation. */
  readonly call: number;
  readonly effect: 'before' | 'after' | 'late' | 'stalls' | 'stalls after' | 'away' | Operation;
}

export interface Step {
  /** Milliseconds that pass before the operation. */
  readonly pause: number;
  readonly operation: Operation;
  readonly fault: Fault | null;
}

export interface Plan {
  /** The time by which each host's clock is ahead, in milliseconds. */
  readonly skews: Readonly<Record<HostName, number>>;
  readonly steps: readonly Step[];
}

const host = fc.constantFrom(...HOST_NAMES);
const node = fc.constantFrom(...NODES);
const repository = fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1);
const image = fc.constantFrom(...IMAGES);
const tag = fc.constantFrom(...TAGS);
const way = fc.constantFrom<Way>('send', 'send', 'head', 'mount');
/** Usually more turns than a run needs. */
const turns = fc.constantFrom(100, 100, 100, 1, 2);
const target = { host, repository };

function kind<Kind extends string>(...kinds: Kind[]): fc.Arbitrary<Kind> {
  return fc.constantFrom(...kinds);
}

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: kind('push'),
      ...target,
      image,
      tags: fc.constantFrom<readonly string[]>(['x'], ['x'], ['x'], ['y'], ['x', 'y'], []),
      way,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: kind('push index'), ...target, tag, way }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: kind('reuse'),
      ...target,
      image,
      tag,
      quarters: fc.constantFrom(0, 3, 5, 9, 9, 9),
      collect: fc.constantFrom(true, true, false),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: kind('delete tag'), ...target, tag }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: kind('delete manifest'), ...target, image: fc.constantFrom(0, 0, 1, 2, 3) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind('delete blob'), ...target, blob: fc.constantFrom(...BLOBS) }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('delete repository'), ...target }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('pull'), ...target, tag }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('pull digest'), ...target, image }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('list'), ...target, limit: fc.constantFrom(1, 2) }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('visibility'), repository, isPublic: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: kind('create credential', 'remove credential'), name: fc.constantFrom('one', 'two') }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind('create organization', 'remove organization') }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('set mirror', 'remove mirror') }) },
  { weight: 6, arbitrary: fc.record({ kind: kind('metadata'), node, turns }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('bytes'), node, turns }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('restart'), node }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('collect') }) },
);

const failure = fc.constantFrom<Extract<Fault['effect'], string>>(
  'before',
  'after',
  'late',
  'stalls',
  'stalls after',
  'away',
);

const pause = fc.constantFrom(0, 0, 1, 1, 5000, 900_000);

const step: fc.Arbitrary<Step> = fc.record({
  pause,
  operation,
  fault: fc.option(
    fc.record({
      store: host,
      call: fc.nat(7),
      effect: fc.oneof(failure, operation),
    }),
    { freq: 2 },
  ),
});

/** A queue works while its node or central fails, or while its node takes a push. */
const queueStep: fc.Arbitrary<Step> = node.chain((name) =>
  fc.record({
    pause,
    operation: fc.record({ kind: kind('metadata'), node: fc.constant(name), turns }),
    fault: fc.record({
      store: fc.constantFrom(name, name, 'central' as const),
      call: fc.nat(7),
      effect: fc.oneof(
        failure,
        fc.record({
          kind: kind('push'),
          host: fc.constant(name),
          repository: fc.constant(0),
          image,
          tags: fc.constantFrom(['x'], ['x', 'y']),
          way: kind('send', 'head'),
        }),
      ),
    }),
  }),
);

const skew = fc.constantFrom(0, 0, 0, 1, 300_000, -300_000);

export const plan: fc.Arbitrary<Plan> = fc.record({
  skews: fc.record({ central: skew, node1: skew, node2: skew }),
  steps: fc.array(fc.oneof({ weight: 7, arbitrary: step }, { weight: 1, arbitrary: queueStep }), {
    minLength: 8,
    maxLength: 18,
    size: 'max',
  }),
});
