import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Action,
  administers,
  allows,
  type Credential,
  isPatternOf,
  pullableRanges,
  type Right,
  RIGHTS,
} from '../../src/auth/credential.ts';
import { type OrganizationName, parseRepositoryName } from '../../src/oci/reference.ts';

const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];
const alice = 'alice' as OrganizationName;
const bob = 'bob' as OrganizationName;

function credentialOf(rights: readonly Right[], repositories: readonly string[], organization = alice): Credential {
  return { kind: 'organization', id: 'c', organization, rights, repositories };
}

const platform: Credential = { kind: 'platform', id: 'p' };
const administrator: Credential = { kind: 'administrator', id: 'a' };

function allowed(credential: Credential, repository: string): Action[] {
  return ACTIONS.filter((action) => allows(credential, action, parseRepositoryName(repository)));
}

describe('an organization credential', () => {
  test.each<[pattern: string, matching: string[], others: string[]]>([
    ['alice/*', ['alice/app', 'alice/team/app', 'alice/0'], ['bob/app', 'alice-x/app', 'alicea/app', 'ali/app']],
    ['alice/app', ['alice/app'], ['alice/app2', 'alice/ap', 'alice/app/x', 'alice/app-1', 'bob/app']],
    [
      'alice/team/*',
      ['alice/team/app', 'alice/team/a/b'],
      ['alice/team', 'alice/team2/app', 'alice/team-x/a', 'alice/tea/m'],
    ],
  ])('with the pattern %s', (pattern, matching, others) => {
    const credential = credentialOf(['pull', 'push', 'delete'], [pattern]);
    for (const repository of matching) expect(allowed(credential, repository)).toEqual(ACTIONS);
    for (const repository of others) expect(allowed(credential, repository)).toEqual([]);
  });

  test.each<[rights: Right[], actions: Action[]]>([
    [[], []],
    [['pull'], ['pull']],
    [['push'], ['push']],
    [['delete'], ['delete']],
    [['admin'], []],
    [[...RIGHTS], ['pull', 'push', 'delete']],
  ])('with the rights %j', (rights, actions) => {
    expect(allowed(credentialOf(rights, ['alice/*']), 'alice/app')).toEqual(actions);
  });

  test('without a pattern reaches nothing of its organization', () => {
    expect(allowed(credentialOf(RIGHTS, []), 'alice/app')).toEqual([]);
  });

  test('reaches no other organization, even with a wrong pattern', () => {
    expect(allowed(credentialOf(RIGHTS, ['bob/*', 'bob/app']), 'bob/app')).toEqual([]);
  });

  test('of official can push there', () => {
    const official = 'official' as OrganizationName;
    expect(allowed(credentialOf(RIGHTS, ['official/*'], official), 'official/base')).toEqual(ACTIONS);
  });
});

describe('every credential', () => {
  test.each([platform, administrator, credentialOf([], []), credentialOf(['push'], ['alice/*'])])(
    'pulls official images, and does nothing else there: %o',
    (credential) => {
      expect(allowed(credential, 'official/base')).toEqual(['pull']);
      expect(allowed(credential, 'official-x/base')).toEqual(credential === platform ? ['pull'] : []);
    },
  );
});

describe('a platform credential', () => {
  test('pulls from every organization, and does nothing else', () => {
    expect(allowed(platform, 'alice/app')).toEqual(['pull']);
    expect(allowed(platform, 'bob/team/app')).toEqual(['pull']);
    expect(administers(platform, alice)).toBe(false);
  });
});

describe('an administrator', () => {
  test('neither pushes nor pulls, and manages every organization', () => {
    expect(allowed(administrator, 'alice/app')).toEqual([]);
    expect(administers(administrator, alice)).toBe(true);
    expect(administers(administrator, bob)).toBe(true);
  });
});

describe('administers', () => {
  test('requires the right admin, in the same organization', () => {
    expect(administers(credentialOf(['admin'], []), alice)).toBe(true);
    expect(administers(credentialOf([...RIGHTS], ['alice/*']), bob)).toBe(false);
    expect(administers(credentialOf(['pull', 'push', 'delete'], ['alice/*']), alice)).toBe(false);
  });
});

describe('pullableRanges', () => {
  const component = fc.string({ unit: fc.constantFrom(...Array.from('a0z-._')), minLength: 1, maxLength: 4 });
  const organization = fc.constantFrom(
    'alice',
    'alice0',
    'alice-x',
    'alice.x',
    'alic',
    'bob',
    'official',
    'official0',
    'zz',
  );
  const repository = fc
    .tuple(
      organization,
      fc.array(fc.oneof(fc.constantFrom('app', 'team', 'app0'), component), { minLength: 1, maxLength: 3 }),
    )
    .map((parts) => parts.flat().join('/'))
    .filter((name) => {
      try {
        return parseRepositoryName(name) === name;
      } catch {
        return false;
      }
    })
    .map(parseRepositoryName);
  const pattern = fc
    .tuple(
      fc.oneof(
        fc.constantFrom('/app', '/team', '/team/app', '/app0'),
        component.map((text) => `/${text}`),
      ),
      fc.boolean(),
    )
    .map(([path, open]) => `alice${path}${open ? '/*' : ''}`)
    .filter((text) => isPatternOf(alice, text));
  const credential = fc.oneof(
    fc.constantFrom(platform, administrator),
    fc
      .record({
        rights: fc.subarray<Right>([...RIGHTS]),
        repositories: fc.array(fc.oneof(fc.constant('alice/*'), pattern, pattern), { maxLength: 3 }),
      })
      .map(({ rights, repositories }) => credentialOf(rights, repositories)),
  );

  test('contain a name exactly if the credential may pull it', () => {
    fc.assert(
      fc.property(credential, repository, (any, name) => {
        const inRange = pullableRanges(any).some(({ from, to }) => from <= name && name < to);
        expect(inRange).toBe(allows(any, 'pull', name));
      }),
      { seed: 403, numRuns: 10_000 },
    );
  });

  test('do not overlap, however the patterns are nested', () => {
    const nested = Array.from({ length: 32 }, (_, i) => `alice/a${'/x'.repeat(i)}/*`).toReversed();
    const ranges = pullableRanges(credentialOf(['pull'], [...nested, 'alice/a/b', 'alice/c', 'alice/c']));
    expect(ranges.map(({ from }) => from)).toEqual(['alice/a/', 'alice/c', 'official/']);
    fc.assert(
      fc.property(credential, (any) => {
        const ordered = pullableRanges(any).toSorted((a, b) => (a.from < b.from ? -1 : 1));
        expect(ordered.every(({ from }, i) => i === 0 || ordered[i - 1]!.to <= from)).toBe(true);
      }),
      { seed: 404, numRuns: 1000 },
    );
  });

  test('are exact at their borders', () => {
    const ranges = pullableRanges(credentialOf(['pull'], ['alice/app', 'alice/team/*']));
    const names = [
      'alice/app',
      'alice/app-1',
      'alice/app.1',
      'alice/app/x',
      'alice/app0',
      'alice/team',
      'alice/team/0',
      'alice/team/zz',
      'alice/team0/a',
    ];
    expect(names.filter((name) => ranges.some(({ from, to }) => from <= name && name < to))).toEqual([
      'alice/app',
      'alice/team/0',
      'alice/team/zz',
    ]);
  });
});

describe('isPatternOf', () => {
  test.each(['alice/*', 'alice/app', 'alice/team/*', 'alice/team/app', `alice/${'a'.repeat(249)}`])('%j', (text) => {
    expect(isPatternOf(alice, text)).toBe(true);
  });

  test.each([
    '',
    '*',
    '/*',
    '**',
    'alice',
    'alice*',
    'alice/',
    'alice/a*',
    'alice/*/app',
    'alice/**',
    'alice//*',
    'bob/*',
    'bob/app',
    'Alice/*',
    'alice-x/*',
    'alice/../bob/*',
    'alice/a%',
  ])('not %j', (text) => {
    expect(isPatternOf(alice, text)).toBe(false);
  });
});
