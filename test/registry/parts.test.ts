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
});

test('an operation that a part leaves undefined is done by the next', () => {
  const above: object = { other: undefined };
  const whole = joined(above, new Second());
  expect(whole.other()).toBe('second');
});

test('a change of a joined registry throws', () => {
  const whole = joined(new First(), new Second());
  expect(() => (whole.both = () => 'changed')).toThrow(TypeError);
  expect(() => Object.defineProperty(whole, 'both', { value: () => 'changed' })).toThrow(TypeError);
});
