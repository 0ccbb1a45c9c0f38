/** Names, tags and digests: good ones, nearly good ones, and nonsense. */
import * as fc from 'fast-check';

const run = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const separator = fc.constantFrom('.', '_', '__', '-', '--', '---');
const component = fc
  .tuple(run, fc.array(fc.tuple(separator, run), { maxLength: 3 }))
  .map(([first, more]) => first + more.map((pair) => pair.join('')).join(''));

/** Most names are in alice's organization, because alice asks: other names are refused for another reason. */
const organization = fc.oneof(
  { weight: 6, arbitrary: fc.constant('alice') },
  { weight: 1, arbitrary: fc.constantFrom('bob', 'official') },
  { weight: 1, arbitrary: component },
);

export const goodName = fc
  .tuple(organization, fc.array(component, { minLength: 1, maxLength: 3 }))
  .map(([first, path]) => [first, ...path].join('/'));

/** Names with exactly this many characters, around the limit. */
const longName = fc.integer({ min: 250, max: 260 }).map((length) => `alice/${'a'.repeat(length - 6)}`);

/** Text that, inserted into a good text, makes it a bad one or another good one. */
const intruder = fc.oneof(
  fc.constantFrom(
    'A',
    'Z',
    '.',
    '_',
    '-',
    '/',
    '//',
    '..',
    '___',
    '.-',
    ':',
    '@',
    '%',
    '%2F',
    '%2f',
    '%00',
    ' ',
    '\n',
    '\\',
    '?',
    '#',
    '+',
  ),
  fc.constantFrom(
    'é',
    'ß',
    '‥',
    '\u212A',
    '\u0131',
    '\uFF41',
    '😀',
    '\u0000',
    '\uFEFF',
    '~',
    '*',
    '"',
    "'",
    ';',
    '&',
    '=',
  ),
  fc.string({ minLength: 1, maxLength: 3 }),
);

/** Returns texts with something inserted, removed, or capitalized. */
export function spoilt(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(
      text,
      fc.nat(300),
      fc.oneof(
        intruder.map((put) => ({ put })),
        fc.constantFrom('take' as const, 'raise' as const),
      ),
    )
    .map(([original, where, how]) => {
      const at = where % (original.length + 1);
      const [before, after] = [original.slice(0, at), original.slice(at)];
      if (how === 'take') return before + after.slice(1);
      if (how === 'raise') return before + after.slice(0, 1).toUpperCase() + after.slice(1);
      return before + how.put + after;
    });
}

export const anyName = fc.oneof(
  { weight: 5, arbitrary: goodName },
  { weight: 5, arbitrary: spoilt(goodName) },
  { weight: 1, arbitrary: longName },
  { weight: 1, arbitrary: component },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }) },
);

export const goodTag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/);

const longTag = fc.integer({ min: 125, max: 131 }).map((length) => 'T'.repeat(length));

export const anyTag = fc.oneof(
  { weight: 4, arbitrary: goodTag },
  { weight: 4, arbitrary: spoilt(goodTag) },
  { weight: 1, arbitrary: longTag },
  { weight: 1, arbitrary: fc.string({ minLength: 1, maxLength: 6 }) },
);

const hex = (digits: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.nat(15).map((digit) => digit.toString(16)), minLength: digits, maxLength: digits });

export const goodDigest = fc.oneof(
  { weight: 4, arbitrary: hex(64).map((digits) => `sha256:${digits}`) },
  { weight: 1, arbitrary: hex(128).map((digits) => `sha512:${digits}`) },
);

export const badDigest = fc.oneof(
  fc.constantFrom(
    'sha256:',
    'sha256',
    ':',
    'sha256:0',
    'sha256:zz',
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    `sha256:${'0'.repeat(65)}`,
  ),
  fc.constantFrom(
    `sha512:${'0'.repeat(64)}`,
    `sha256:${'A'.repeat(64)}`,
    `SHA256:${'0'.repeat(64)}`,
    `sha256::${'0'.repeat(63)}`,
  ),
  hex(40).map((digits) => `sha1:${digits}`),
  hex(64).map((digits) => `sha384:${digits}`),
  spoilt(goodDigest),
);

export const anyDigest = fc.oneof({ weight: 2, arbitrary: goodDigest }, { weight: 3, arbitrary: badDigest });
