/** The arbitraries that random plans are made of. */
import * as fc from 'fast-check';
import { GRACE } from '../../../support/fixture.ts';
import { HOST_NAMES, type HostName, type NodeName } from '../../../support/hosts.ts';
import { MANIFESTS, NODES, type Operation, TAGS, type Way } from './operations.ts';

export const HOUR = 3_600_000;
export const MINUTE = 60_000;
export const ALL = 100;

export const host = fc.constantFrom<HostName>(...HOST_NAMES);
export const node = fc.constantFrom<NodeName>(...NODES);
export const repository = fc.constantFrom(0, 0, 0, 0, 1);
export const manifest = fc.constantFrom(0, 0, ...MANIFESTS);
export const image = fc.constantFrom(0, 0, 1);
export const tag = fc.constantFrom(...TAGS);
export const tags = fc.constantFrom<readonly string[]>([], ['x'], ['x'], ['y'], ['x', 'y']);
export const turns = fc.constantFrom(ALL, ALL, ALL, 1, 2);
export const target = { host, repository };
export const way = fc.constantFrom<Way>(
  'digest',
  'post',
  'patch',
  'chunks',
  'chunk and put',
  'head or digest',
  'head or digest',
  'head',
  'mount or digest',
);

/** A pause just before, at, or just after a time limit of some rule. */
export const limit = fc
  .tuple(
    fc.constantFrom(HOUR, 0.25 * GRACE, 0.5 * GRACE, 0.75 * GRACE, GRACE, 1.75 * GRACE, 2 * GRACE),
    fc.constantFrom(-1, 0, 1),
  )
  .map(([time, more]) => time + more);
export const short = fc.constantFrom(0, 0, 0, 1, MINUTE);
export const pause = fc.oneof({ weight: 5, arbitrary: short }, { weight: 2, arbitrary: limit });

export function kind<Kind extends string>(...kinds: Kind[]): fc.Arbitrary<Kind> {
  return fc.constantFrom(...kinds);
}

export const work: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: kind('collect central'),
      turns,
      away: fc.constantFrom(null, null, null, null, 'node1' as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: kind('collect node'), node, turns }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('evict'), node, turns, by: kind('bytes', 'idleness') }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('tombstones'), turns }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('expired uploads', 'change log') }) },
);
