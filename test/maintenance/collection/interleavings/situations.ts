/**
 * Situations in which bytes are at risk, with times around the limits of the rules of collection. Each one is the
 * reason for some rule.
 */
import * as fc from 'fast-check';
import { GRACE } from '../../../support/fixture.ts';
import type { HostName, NodeName } from '../../../support/hosts.ts';
import { ALL, HOUR, host, image, kind, limit, MINUTE, node, short, work } from './chances.ts';
import { FORMS, NODES, type Operation, type Step, type Way } from './operations.ts';

/** Pushes an image to a host, in two steps. */
function pushed(at: HostName, number: number, to: number, how: Way = 'digest'): Operation[] {
  return [
    { kind: 'blobs', host: at, repository: to, manifest: number, way: how },
    { kind: 'commit', host: at, repository: to, manifest: number, tags: ['x'] },
  ];
}

/** A step, an operation, or a list of these. An operation follows without a pause. */
type Part = Operation | Step | readonly Part[];

function steps(...parts: readonly Part[]): Step[] {
  return parts.flatMap((part): readonly Step[] => {
    if ('operation' in part) return [part];
    return 'kind' in part ? [after(0, part)] : steps(...part);
  });
}

function after(pause: number, operation: Operation): Step {
  return { pause, operation, stop: null };
}

const metadata = (name: NodeName): Operation => ({ kind: 'metadata', node: name, turns: ALL });
const bytes = (name: NodeName): Operation => ({ kind: 'bytes', node: name, turns: ALL });
const collectNode = (name: NodeName): Operation => ({ kind: 'collect node', node: name, turns: ALL });
const COLLECT: Operation = { kind: 'collect central', turns: ALL, away: null };

/** Exchanges everything, so that central has all bytes as well. */
const EXCHANGED = [...NODES, ...NODES].flatMap((name) => [metadata(name), bytes(name)]);

/** A while into a blob's lease, a client learns that the blob exists; it then commits as late as it may. */
const promised: fc.Arbitrary<Step[]> = fc
  .record({
    source: fc.constantFrom<HostName>('central', 'central', 'node1'),
    at: host,
    number: image,
    waited: fc.oneof(limit, fc.constantFrom(GRACE, GRACE + MINUTE)),
    collected: fc.oneof(limit, fc.constantFrom(GRACE - 1, GRACE)),
    committed: fc.constantFrom(0, 0, 1),
    late: limit,
    slow: fc.constantFrom(null, null, 1 as const),
    how: kind('head or digest', 'mount or digest', 'head'),
  })
  .map(({ source, at, number, waited, collected, committed, late, slow, how }) =>
    steps(
      { kind: 'blobs', host: source, repository: how === 'mount or digest' ? 1 : 0, manifest: number, way: 'digest' },
      {
        pause: waited,
        operation: { kind: 'blobs', host: at, repository: 0, manifest: number, way: how },
        stop: slow === null ? null : { call: 0, at: 'after', resume: 1 },
      },
      slow === null ? [] : after(HOUR - 1, { kind: 'change log' }),
      after(collected, COLLECT),
      NODES.map(collectNode),
      after(committed, { kind: 'commit', host: at, repository: 0, manifest: number, tags: ['x'] }),
      after(late, COLLECT),
      NODES.map(collectNode),
      NODES.map(metadata),
      COLLECT,
    ),
  );

/** A node accepts a manifest on central's promise, perhaps too late, and announces it late. */
const lagging: fc.Arbitrary<Step[]> = fc
  .record({ at: node, number: image, committed: limit, collects: fc.boolean(), late: limit, exchanged: fc.boolean() })
  .map(({ at, number, committed, collects, late, exchanged }) =>
    steps(
      { kind: 'blobs', host: 'central', repository: 0, manifest: number, way: 'digest' },
      { kind: 'blobs', host: at, repository: 0, manifest: number, way: 'head' },
      after(committed, collects ? COLLECT : metadata(at)),
      { kind: 'commit', host: at, repository: 0, manifest: number, tags: ['x'] },
      exchanged ? metadata(at) : [],
      after(late, COLLECT),
      metadata(at),
      COLLECT,
      collectNode(at),
    ),
  );

/** Only one node has the bytes, and others come to need them. */
const onlyThere: fc.Arbitrary<Step[]> = fc
  .record({
    at: node,
    other: host,
    number: image,
    over: fc.oneof(limit, fc.constantFrom(2 * GRACE, 2 * GRACE + 1), fc.constant(2 * GRACE + HOUR)),
    copied: fc.constantFrom(false, false, true),
    goes: kind('delete manifest', 'delete repository'),
  })
  .map(({ at, other, number, over, copied, goes }) =>
    steps(
      pushed(at, number, 0),
      metadata(at),
      copied ? bytes(at) : [],
      pushed(other, number, 1, 'mount or digest'),
      NODES.map(metadata),
      { kind: goes, host: other, repository: 0, manifest: number },
      NODES.map(metadata),
      after(over, collectNode(at)),
      after(over, collectNode(at)),
      after(HOUR, collectNode(at)),
      COLLECT,
      { kind: 'pull digest', host: at, repository: 1, manifest: number },
    ),
  );

/** Maintenance is stopped, and meanwhile clients need the bytes that it was about to remove. */
const between: fc.Arbitrary<Step[]> = fc
  .record({
    source: host,
    at: host,
    number: image,
    live: fc.boolean(),
    over: fc.constantFrom(2 * GRACE, 2 * GRACE + 1, 2 * GRACE + HOUR),
    about: work,
    call: fc.nat(9),
    when: kind('before', 'after', 'after'),
    how: kind<Way>('head', 'digest', 'head or digest', 'mount or digest'),
    commits: fc.boolean(),
    later: fc.oneof(short, limit),
  })
  .map(({ source, at, number, live, over, about, call, when, how, commits, later }) =>
    steps(
      pushed(source, number, 0),
      EXCHANGED,
      live ? [] : [{ kind: 'delete manifest', host: 'central', repository: 0, manifest: number }, NODES.map(metadata)],
      { pause: over, operation: about, stop: { call, at: when, resume: commits ? 2 : 1 } },
      { kind: 'blobs', host: at, repository: 0, manifest: number, way: how },
      commits ? { kind: 'commit', host: at, repository: 0, manifest: number, tags: ['y'] } : [],
      after(later, COLLECT),
      NODES.map(collectNode),
    ),
  );

/** Central is about to remove rows, and is stopped. Meanwhile the blob is pushed or found again. */
const taken: fc.Arbitrary<Step[]> = fc
  .record({
    number: image,
    call: fc.integer({ min: 3, max: 8 }),
    how: fc.constantFrom<Way>(...FORMS, 'head'),
    late: limit,
  })
  .map(({ number, call, how, late }) =>
    steps(
      { kind: 'blobs', host: 'central', repository: 0, manifest: number, way: 'digest' },
      { pause: 2 * GRACE + 1, operation: COLLECT, stop: { call, at: 'after', resume: 1 } },
      { kind: 'blobs', host: 'central', repository: 0, manifest: number, way: how },
      metadata('node1'),
      { kind: 'commit', host: 'central', repository: 0, manifest: number, tags: ['x'] },
      after(late, COLLECT),
    ),
  );

/**
 * A node is about to remove bytes, which central released because it has a copy, and is stopped. Meanwhile central's
 * copy is deleted and collected. The node uses its bytes again for another repository, and others come to need them.
 */
const released: fc.Arbitrary<Step[]> = fc
  .record({
    at: node,
    number: image,
    by: kind('bytes', 'idleness'),
    call: fc.constantFrom(6, 8, 9, 9, 9, 10),
    other: fc.constantFrom<HostName>('central', 'central', 'central', 'node1', 'node2'),
    applied: fc.boolean(),
  })
  .map(({ at, number, by, call, other, applied }) =>
    steps(
      pushed(at, number, 0),
      { kind: 'blobs', host: at, repository: 1, manifest: number, way: 'mount or digest' },
      metadata(at),
      bytes(at),
      {
        pause: 2 * GRACE + 1,
        operation: { kind: 'evict', node: at, turns: ALL, by },
        stop: { call, at: 'after', resume: 9 },
      },
      { kind: 'delete manifest', host: 'central', repository: 0, manifest: number },
      applied ? metadata(at) : COLLECT,
      after(2 * GRACE + 1, COLLECT),
      { kind: 'commit', host: at, repository: 1, manifest: number, tags: ['x'] },
      metadata(at),
      pushed(other, number, 0, 'mount or digest'),
      { kind: 'delete manifest', host: 'central', repository: 1, manifest: number },
      metadata(at),
      after(HOUR, { kind: 'evict', node: at, turns: ALL, by }),
      collectNode(at),
      COLLECT,
    ),
  );

/**
 * A node evicts an image that central has deleted. Another image at the node shares a layer and is not yet announced.
 */
const shared: fc.Arbitrary<Step[]> = fc
  .record({ at: node, by: kind('bytes', 'idleness'), applied: fc.boolean(), late: fc.oneof(short, limit) })
  .map(({ at, by, applied, late }) =>
    steps(
      pushed(at, 1, 0),
      { kind: 'blobs', host: at, repository: 0, manifest: 0, way: 'digest' },
      metadata(at),
      bytes(at),
      after(2 * GRACE + 1, { kind: 'delete manifest', host: 'central', repository: 0, manifest: 1 }),
      applied ? metadata(at) : [],
      { kind: 'commit', host: at, repository: 0, manifest: 0, tags: ['x'] },
      { kind: 'evict', node: at, turns: ALL, by },
      after(late, COLLECT),
      metadata(at),
      COLLECT,
      after(HOUR, collectNode(at)),
    ),
  );

/** A node is about to evict an image that is deleted and then pushed again by its digest. */
const evicted: fc.Arbitrary<Step[]> = fc
  .record({
    at: node,
    source: host,
    number: image,
    by: kind('bytes', 'idleness'),
    call: fc.nat(9),
    first: kind('delete', 'commit', 'evict'),
    over: fc.constantFrom(0, 2 * GRACE + 1),
    applied: fc.boolean(),
    resume: fc.constantFrom(2, 3, 4, 5),
  })
  .map(({ at, source, number, by, call, first, over, applied, resume }) => {
    const gone: Operation = { kind: 'delete manifest', host: 'central', repository: 0, manifest: number };
    const again: Operation = { kind: 'commit', host: at, repository: 0, manifest: number, tags: ['x'] };
    const start = steps(
      pushed(source, number, 0),
      EXCHANGED,
      { kind: 'pull', host: at, repository: 0, tag: 'x' },
      bytes(at),
    );
    const evict: Step = {
      pause: 2 * GRACE + 1,
      operation: { kind: 'evict', node: at, turns: ALL, by },
      stop: { call, at: 'after', resume },
    };
    const apply = applied ? metadata(at) : [];
    const tail = steps(
      after(over, COLLECT),
      metadata(at),
      { kind: 'pull', host: at, repository: 0, tag: 'x' },
      COLLECT,
    );
    const rest = steps(tail, after(HOUR, { kind: 'evict', node: at, turns: ALL, by }), COLLECT);
    switch (first) {
      case 'evict':
        return steps(start, evict, gone, apply, after(over, COLLECT), again, rest);
      case 'delete':
        return steps(start, gone, apply, evict, again, rest);
      case 'commit':
        return steps(start, gone, apply, after(2 * GRACE, again), { ...evict, pause: 0 }, rest);
    }
  });

export const situation = fc.oneof(promised, promised, lagging, onlyThere, between, taken, released, shared, evicted);
