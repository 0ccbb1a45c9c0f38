/**
 * Random plans. A quarter of them are any operations in any order. The others start from a situation in which bytes are
 * at risk, with times around the limits of the rules. In most of these, random operations run in between, and isolates
 * are stopped.
 */
import * as fc from 'fast-check';
import { image, kind, manifest, MINUTE, node, pause, tag, tags, target, turns, way, work } from './chances.ts';
import { BLOBS, EQUAL, type Operation, type Plan, type Step, type Stop } from './operations.ts';
import { situation } from './situations.ts';

const request: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: kind('blobs'), ...target, manifest: image, way }) },
  { weight: 4, arbitrary: fc.record({ kind: kind('commit'), ...target, manifest, tags }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: kind('upload'),
      ...target,
      blob: fc.constantFrom(...BLOBS),
      end: kind('left', 'cancelled'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind('delete tag'), ...target, tag }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('delete manifest'), ...target, manifest }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('delete blob'), ...target, blob: fc.constantFrom(...BLOBS) }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('delete repository'), ...target }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('pull'), ...target, tag }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('pull digest'), ...target, manifest }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('read blob'), ...target, blob: fc.constantFrom(...BLOBS) }) },
);

const queue: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: kind('metadata'), node, turns }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('bytes'), node, turns }) },
);

const operation = fc.oneof(
  { weight: 4, arbitrary: request },
  { weight: 2, arbitrary: queue },
  { weight: 3, arbitrary: work },
);

const stop: fc.Arbitrary<Stop> = fc.record({
  call: fc.nat(9),
  at: kind('before', 'after', 'after'),
  resume: fc.constantFrom(null, 1, 2, 3, 4),
});

const step: fc.Arbitrary<Step> = fc.record({ pause, operation, stop: fc.option(stop, { freq: 2 }) });

/** The steps of a situation, some of them stopped, with random steps in between. */
const disturbed: fc.Arbitrary<Step[]> = fc
  .record({
    steps: situation,
    others: fc.array(fc.record({ at: fc.nat(20), step }), { maxLength: 3, size: 'max' }),
    stops: fc.array(fc.record({ at: fc.nat(20), stop }), { maxLength: 2, size: 'max' }),
  })
  .map(({ steps: given, others, stops }) => {
    let all = given;
    for (const { at, stop: one } of stops) {
      const index = at % all.length;
      const found = all[index];
      if (found !== undefined && found.stop === null) all = all.with(index, { ...found, stop: one });
    }
    for (const { at, step: one } of others) all = all.toSpliced(at % all.length, 0, one);
    return all;
  });

const skews = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Plan['skews']>(EQUAL) },
  {
    weight: 1,
    arbitrary: fc.record({
      central: fc.constantFrom(0, 0, 5 * MINUTE),
      node1: fc.constantFrom(0, -5 * MINUTE, 5 * MINUTE),
      node2: fc.constantFrom(0, -5 * MINUTE, 5 * MINUTE),
    }),
  },
);

export const plan: fc.Arbitrary<Plan> = fc.record({
  skews,
  steps: fc.oneof(fc.array(step, { minLength: 8, maxLength: 18, size: 'max' }), situation, disturbed, disturbed),
});
