import { describe, expect, test } from 'vitest';
import type { Right } from '../../src/auth/credential.ts';
import {
  administersRepository,
  beyondReach,
  type Delegate,
  mayExpireAt,
  type Reach,
} from '../../src/auth/delegation.ts';
import { type OrganizationName, parseRepositoryName } from '../../src/oci/reference.ts';

const alice = 'alice' as OrganizationName;

function admin(
  repositories: readonly string[],
  limits: Partial<Pick<Delegate, 'registries' | 'expiresAt'>> = {},
): Delegate {
  const rights: Right[] = ['pull', 'admin'];
  const credential = { kind: 'organization', id: 'a', organization: alice, rights, repositories } as const;
  return { credential, registries: null, expiresAt: undefined, ...limits };
}

const reach = (fields: Partial<Reach>): Reach => ({ rights: ['pull'], repositories: [], registries: null, ...fields });

describe('a credential cannot give access that it lacks', () => {
  test.each([
    ['alice/*', 'alice/*', true],
    ['alice/*', 'alice/team/*', true],
    ['alice/*', 'alice/app', true],
    ['alice/team/*', 'alice/team/app', true],
    ['alice/team/*', 'alice/team/deep/*', true],
    ['alice/team/*', 'alice/team/*', true],
    ['alice/team/*', 'alice/*', false],
    ['alice/team/*', 'alice/team', false],
    ['alice/team/*', 'alice/teams/*', false],
    ['alice/team/*', 'alice/teams', false],
    ['alice/app', 'alice/app', true],
    ['alice/app', 'alice/app/*', false],
    ['alice/app', 'alice/apps', false],
  ])('repositories: of %s, %s: %s', (own, asked, isWithin) => {
    const beyond = beyondReach(admin(['alice/other', own]), reach({ repositories: [asked] }));
    expect(beyond).toBe(isWithin ? undefined : `the repositories ${asked}`);
  });

  test('rights', () => {
    expect(beyondReach(admin(['alice/*']), reach({ rights: ['admin', 'pull'] }))).toBeUndefined();
    expect(beyondReach(admin(['alice/*']), reach({ rights: ['pull', 'push'] }))).toBe('the right push');
  });

  test('registries', () => {
    const local = admin(['alice/*'], { registries: ['central', 'node1'] });
    expect(beyondReach(local, reach({ registries: ['node1'] }))).toBeUndefined();
    expect(beyondReach(local, reach({ registries: ['node1', 'node2'] }))).toBe('the registry node2');
    expect(beyondReach(local, reach({ registries: null }))).toBe('all registries');
  });

  test('an end', () => {
    const ending = admin(['alice/*'], { expiresAt: 1000 });
    expect([999, 1000, 1001, null].map((end) => mayExpireAt(ending, end))).toEqual([true, true, false, false]);
    expect([1, null].map((end) => mayExpireAt(admin(['alice/*']), end))).toEqual([true, true]);
  });
});

test('an administrator may give rights that it lacks itself, at registries where it is valid', () => {
  const administrator: Delegate = {
    credential: { kind: 'administrator', id: 'a' },
    registries: ['central'],
    expiresAt: undefined,
  };
  expect(
    beyondReach(administrator, reach({ rights: ['push'], repositories: ['alice/*'], registries: ['central'] })),
  ).toBeUndefined();
  expect(beyondReach(administrator, reach({ registries: ['node1'] }))).toBe('the registry node1');
  expect(administersRepository(administrator, alice, parseRepositoryName('alice/app'))).toBe(true);
});

test('an admin of some repositories manages no others', () => {
  const may = (name: string) =>
    administersRepository(admin(['alice/app', 'alice/team/*']), alice, parseRepositoryName(name));
  expect(['alice/app', 'alice/team/x', 'alice/other', 'alice/teams/x'].map(may)).toEqual([true, true, false, false]);
});
