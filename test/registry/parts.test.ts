/** Registries that are joined from parts. */
import { expect, test } from 'vitest';
import { joined } from '../../src/registry/parts.ts';

class First {
  readonly #own = 'first';
  both = (): string => this.#own;
  one(): string {
    return this.#own;
  }
}

class Second {
  both(): string {
    return 'second';
  }
  other(): string {
    return 'second';
  }
}

test('the first part that has an operation does it', () => {
  const whole = joined(new First(), new Second());
  expect([whole.both(), whole.one(), whole.other()]).toEqual(['first', 'first', 'second']);
});

test('a joined registry can be a part of another', () => {
  const whole = joined({ above: () => 'above' }, joined(new First(), new Second()));
  expect([whole.above(), whole.one(), whole.other()]).toEqual(['above', 'first', 'second']);
  expect('another' in whole).toBe(false);
});
