/** The choice of the next blob: organizations take turns, and so do copies down and up. */
import { describe, expect, test } from 'vitest';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { FairQueue, type QueuedBlob } from '../../src/replication/fair-queue.ts';

describe('the fair queue', () => {
  const named = (text: string): QueuedBlob & { name: string } => {
    const [organization = '', kind] = text.split(' ');
    return {
      name: text,
      organization: organization as OrganizationName,
      kind: kind === 'down' ? 'copy down' : 'copy up',
    };
  };
  const order = (fairQueue: FairQueue, waiting: readonly string[], count = waiting.length): string[] => {
    let left = waiting.map(named);
    return Array.from({ length: count }, () => {
      const next = fairQueue.take(left);
      left = left.filter((item) => item !== next);
      return next?.name ?? '';
    });
  };

  test('returns nothing when nothing waits', () => {
    expect(new FairQueue().take([])).toBeUndefined();
  });

  test('alternates between the organizations, however many blobs each has', () => {
    expect(order(new FairQueue(), ['a up 1', 'a up 2', 'a up 3', 'b up 1', 'b up 2', 'c up 1'])).toEqual([
      'a up 1',
      'b up 1',
      'c up 1',
      'a up 2',
      'b up 2',
      'a up 3',
    ]);
  });

  test("alternates between copies down and up within an organization, so that an organization's copies down do not go before others' copies up", () => {
    expect(
      order(new FairQueue(), ['a down 1', 'a down 2', 'a down 3', 'b down 1', 'a up 1', 'c up 1', 'b up 1']),
    ).toEqual(['a down 1', 'b down 1', 'c up 1', 'a up 1', 'b up 1', 'a down 2', 'a down 3']);
  });

  test('remembers turns: an organization with ever new blobs does not overtake one that waits', () => {
    const fairQueue = new FairQueue();
    const taken = Array.from({ length: 6 }, (_, i) => order(fairQueue, [`a up ${i}`, `b up 0`, `b up 1`], 1)[0]);
    expect(taken.map((name) => name?.slice(0, 1))).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
  });

  test('tells which organization is next, as it then takes them', () => {
    const fairQueue = new FairQueue();
    order(fairQueue, ['a up 1', 'c up 1', 'b up 1']);
    const waiting = ['b up 2', 'a up 2', 'a down 1', 'c up 2', 'd up 1'];
    expect(fairQueue.order(waiting.map(named))).toEqual(['d', 'a', 'c', 'b']);
    expect(order(fairQueue, waiting).slice(0, 4)).toEqual(['d up 1', 'a down 1', 'c up 2', 'b up 2']);
  });

  test('forgets the organizations whose turn was longest ago', () => {
    const fairQueue = new FairQueue();
    for (let i = 0; i < 5000; i++) fairQueue.take([named(`o${i} up 1`)]);
    expect(order(fairQueue, ['o4999 up 2', 'o4998 up 2', 'o1 up 2'])).toEqual(['o1 up 2', 'o4998 up 2', 'o4999 up 2']);
  });
});
