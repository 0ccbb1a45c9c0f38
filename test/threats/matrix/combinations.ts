/** Declares the tests of a matrix: one for each caller, which tries every route on every subject. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from './callers.ts';
import type { Place } from './repositories.ts';
import { createWorld, type World } from './world.ts';

interface Matrix {
  readonly place: Place;
  readonly callers: readonly Caller[];
  readonly routes: readonly unknown[];
  readonly subjects: readonly unknown[];
  /** Is given the world of the tests before the first. */
  readonly open: (world: World) => void;
  /** Tries all routes on all subjects as a caller. @returns the number of combinations that it has tried */
  readonly check: (caller: Caller) => Promise<number>;
}

export function describeCombinations({ place, callers, routes, subjects, open, check }: Matrix): void {
  const combinations = callers.length * routes.length * subjects.length;
  let asked = 0;
  let world: World;
  beforeAll(async () => {
    world = await createWorld(place);
    open(world);
  });
  // The setup empties the store before each test.
  beforeEach(() => world.restore());

  describe(`${callers.length} callers × ${routes.length} routes × ${subjects.length} subjects: ${combinations} combinations`, () => {
    test.each(callers)('$name', async (caller) => {
      asked += await check(caller);
    });

    test('every combination was tried', () => {
      expect(asked).toBe(combinations);
    });
  });
}
