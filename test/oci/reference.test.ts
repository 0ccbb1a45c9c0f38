import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isOrganizationName,
  isRepositoryName,
  organizationOf,
  parseAnyReference,
  parseReference,
  parseRepositoryName,
  parseTag,
} from '../../src/oci/reference.ts';

const GOOD_COMPONENTS = ['a', '0', 'alice', 'a.b', 'a_b', 'a__b', 'a-b', 'a---b', 'a-b.c__d', '0.0', 'x--1'];
const BAD_COMPONENTS = [
  '',
  '.',
  '-',
  '_a',
  'a_',
  '.a',
  'a.',
  '-a',
  'a-',
  'a..b',
  'a___b',
  'a._b',
  'a-_b',
  'a.-b',
  'A',
  'aB',
];
const ALIEN_COMPONENTS = [
  'a b',
  'a:b',
  'a@b',
  'a+b',
  'a%2fb',
  'ä',
  'ａ',
  'a\n',
  '\0',
  "a'",
  '"',
  '<a>',
  '$',
  '..',
  '*',
  '~',
];

/**
 * The grammar of the distribution spec ("Pulling manifests"), written by hand: runs of letters and digits, and the
 * separators allowed between them.
 */
function isComponent(text: string): boolean {
  const between = text.split(/[a-z0-9]+/);
  return (
    between.length > 1 &&
    between.every((separator, i) => {
      const atAnEnd = i === 0 || i === between.length - 1;
      return atAnEnd ? separator === '' : ['.', '_', '__', '-'.repeat(separator.length)].includes(separator);
    })
  );
}

describe('repository names', () => {
  test.each(GOOD_COMPONENTS)('%j is a component', (component) => {
    for (const name of [`alice/${component}`, `${component}/app`, `alice/${component}/app`]) {
      expect(parseRepositoryName(name)).toBe(name);
      expect(isRepositoryName(name)).toBe(true);
    }
  });

  test.each([...BAD_COMPONENTS, ...ALIEN_COMPONENTS])('%j is not a component', (component) => {
    for (const name of [`alice/${component}`, `${component}/app`, `alice/${component}/app`]) {
      expect(() => parseRepositoryName(name)).toThrow(expect.objectContaining({ kind: 'NAME_INVALID' }));
      expect(isRepositoryName(name)).toBe(false);
    }
  });

  test('are exactly two or more components, separated by slashes', () => {
    const text = fc.string({ unit: fc.constantFrom(...Array.from('ab07._-/A:')), maxLength: 12 });
    fc.assert(
      fc.property(text, (name) => {
        const components = name.split('/');
        expect(isRepositoryName(name)).toBe(components.length > 1 && components.every(isComponent));
      }),
      { seed: 102, numRuns: 5000 },
    );
  });

  test('have at most 255 characters', () => {
    expect(isRepositoryName(`alice/${'a'.repeat(249)}`)).toBe(true);
    expect(() => parseRepositoryName(`alice/${'a'.repeat(250)}`)).toThrow(
      expect.objectContaining({ kind: 'NAME_UNKNOWN', message: 'a repository name has at most 255 characters' }),
    );
  });

  test.each([
    ['nginx', 'NAME_UNKNOWN', 'a repository name starts with its organization: <organization>/nginx'],
    ['alice/App', 'NAME_INVALID', 'a repository name must be lowercase'],
    [
      'alice/a b',
      'NAME_INVALID',
      'a repository name consists of lowercase letters and digits, separated by ".", "_", "__", "-" or "/"',
    ],
  ])('get an error that says what is wrong with %j', (name, kind, message) => {
    expect(() => parseRepositoryName(name)).toThrow(expect.objectContaining({ kind, message, detail: { name } }));
  });

  test('are truncated to 300 characters in an error', () => {
    expect(() => parseRepositoryName('a'.repeat(5000))).toThrow(
      expect.objectContaining({ detail: { name: 'a'.repeat(300) } }),
    );
  });

  test('are checked quickly, even hostile ones', () => {
    const hostile = `${'a-'.repeat(120)}a!/${'__'.repeat(6)}`;
    const started = performance.now();
    for (let i = 0; i < 1000; i++) isRepositoryName(hostile);
    for (const long of ['a-', 'a', 'a/', 'a__']) isRepositoryName(`${long.repeat(50_000)}!`);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe('organizations', () => {
  test.each(GOOD_COMPONENTS)('%j is the name of one', (name) => {
    expect(isOrganizationName(name)).toBe(true);
  });

  test.each([...BAD_COMPONENTS, ...ALIEN_COMPONENTS, 'alice/app', 'a'.repeat(129)])('%j is not', (name) => {
    expect(isOrganizationName(name)).toBe(false);
  });

  test('have at most 128 characters', () => {
    expect(isOrganizationName('a'.repeat(128))).toBe(true);
  });

  test('are the first component of a repository name', () => {
    expect(organizationOf(parseRepositoryName('alice/team/app'))).toBe('alice');
  });
});

describe('tags', () => {
  test.each(['latest', 'v1.0', '_', '0', 'A-b.C_d', 'a..b', 'sha256-0123.sig', 'a'.repeat(128)])('%j is one', (tag) => {
    expect(parseTag(tag)).toBe(tag);
  });

  test.each(['', '.a', '-a', 'a b', 'a/b', 'a+b', 'a:b', 'a\n', 'ä', 'a'.repeat(129), '<b>', "'", '%00'])(
    '%j is not one',
    (tag) => {
      expect(() => parseTag(tag)).toThrow(expect.objectContaining({ kind: 'TAG_INVALID', detail: { tag } }));
    },
  );

  test('are truncated to 200 characters in an error', () => {
    expect(() => parseTag('a'.repeat(5000))).toThrow(expect.objectContaining({ detail: { tag: 'a'.repeat(200) } }));
  });
});

describe('references', () => {
  const digest = `sha256:${'0'.repeat(64)}`;

  test('are digests if they have a colon, and tags otherwise', () => {
    expect(parseReference(digest)).toEqual({ kind: 'digest', digest });
    expect(parseReference('latest')).toEqual({ kind: 'tag', tag: 'latest' });
    expect(parseReference(digest.replace(':', '-'))).toEqual({ kind: 'tag', tag: digest.replace(':', '-') });
  });

  test('in a read may name manifests that cannot exist', () => {
    const blake3 = `blake3:${'0'.repeat(64)}`;
    expect(parseAnyReference(digest)).toEqual({ kind: 'digest', digest });
    expect(parseAnyReference(blake3)).toEqual({ kind: 'digest', digest: blake3 });
    for (const tag of ['latest', '-', '', 'a'.repeat(500)])
      expect(parseAnyReference(tag)).toEqual({ kind: 'tag', tag });
    expect(() => parseAnyReference('sha256:0')).toThrow(expect.objectContaining({ kind: 'DIGEST_INVALID' }));
  });

  test('get the error of a digest or of a tag, by their form', () => {
    expect(() => parseReference('sha256:0')).toThrow(
      expect.objectContaining({
        kind: 'DIGEST_INVALID',
        message: 'the reference must have 64 lowercase hexadecimal digits after sha256:',
      }),
    );
    expect(() => parseReference('-')).toThrow(expect.objectContaining({ kind: 'TAG_INVALID' }));
  });
});
