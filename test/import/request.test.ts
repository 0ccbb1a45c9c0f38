import { describe, expect, test } from 'vitest';
import type { Credential } from '../../src/auth/credential.ts';
import { selectPlatforms } from '../../src/import/platforms.ts';
import { checkImport, importerOf, type ImportRequest, targetOf } from '../../src/import/request.ts';
import type { Descriptor } from '../../src/oci-client/descriptor.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { importRequest } from '../support/imports.ts';

const ALICE = 'alice' as OrganizationName;
const REACH = { isOwn: () => false, allowsLoopback: false };
const WHOLE = { patterns: ['alice/*'] };

const check = (fields: Partial<ImportRequest>, importer = WHOLE) =>
  checkImport(ALICE, importRequest(fields), importer, REACH);

test('a name is kept, or put where * stands', () => {
  expect(targetOf(ALICE, { as: '*' }, 'team/app')).toBe('alice/team/app');
  expect(targetOf(ALICE, { as: 'hub/*' }, 'alpine')).toBe('alice/hub/alpine');
  expect(targetOf(ALICE, { as: 'base' }, 'library/alpine')).toBe('alice/base');
  expect(targetOf(ALICE, { as: '../*' }, 'app')).toBeUndefined();
  expect(targetOf(ALICE, { as: '*' }, 'x'.repeat(250))).toBeUndefined();
});

describe('a request is refused', () => {
  test.each<[string, Partial<ImportRequest>, string]>([
    ['patterns where there is no catalog', { from: 'hub', repositories: ['library/*'] }, 'name each of them in full'],
    ['one name for several', { repositories: ['a', 'b'], as: 'c' }, 'write *'],
    ['one name for a pattern', { repositories: ['a*'], as: 'c' }, 'write *'],
    ['an invalid name', { repositories: ['../etc'] }, 'is not a name'],
    ['an invalid tag', { tags: ['../x'] }, 'is not a tag'],
    ['pruning in one run', { prunes: true }, 'needs every_seconds'],
    ['counting in step', { every: 1, isDry: true }, 'copies what it counts'],
    ['a target that makes an invalid name', { as: '-*' }, 'no valid name'],
  ])('%s', (_, fields, reason) => {
    expect(() => check(fields)).toThrow(reason);
  });

  test('if the credential may not push to it', () => {
    expect(() => check({ repositories: ['app'] }, { patterns: ['alice/team/*'] })).toThrow(
      /may not push to alice\/app/,
    );
    expect(() => check({ repositories: ['team/app'] }, { patterns: ['alice/team/*'] })).not.toThrow();
  });
});

test('only those who may push to an organization import into it', () => {
  const member = (fields: object): Credential => ({
    kind: 'organization',
    id: 'x',
    organization: ALICE,
    rights: ['push', 'admin'],
    repositories: ['alice/a'],
    ...fields,
  });
  expect(importerOf({ kind: 'administrator', id: 'a' }, ALICE, false)).toEqual({
    id: 'a',
    isStored: false,
    patterns: ['alice/*'],
  });
  expect(importerOf(member({}), ALICE, false)).toMatchObject({ id: 'x', patterns: ['alice/a'] });
  for (const other of [member({ rights: ['pull', 'admin'] }), member({ organization: 'bob' })])
    expect(() => importerOf(other, ALICE, false)).toThrow('may not push to alice');
  expect(() => importerOf(member({}), ALICE, true)).toThrow('may not delete from alice');
  expect(importerOf(member({ rights: ['push', 'delete', 'admin'] }), ALICE, true)).toMatchObject({ id: 'x' });
  expect(() => importerOf({ kind: 'platform', id: 'p' }, ALICE, false)).toThrow('may not push to alice');
});

test('platforms are chosen with their attestations, and what has no platform stays', () => {
  const child = (digest: string, platform?: object, about?: string): Descriptor =>
    ({
      mediaType: 'a/b',
      digest,
      size: 1,
      ...(platform && { platform }),
      ...(about !== undefined && { annotations: { 'vnd.docker.reference.digest': about } }),
    }) as unknown as Descriptor;
  const unknown = { os: 'unknown', architecture: 'unknown' };
  const children = [
    child('amd64', { os: 'linux', architecture: 'amd64' }),
    child('v7', { os: 'linux', architecture: 'arm', variant: 'v7' }),
    child('v6', { os: 'linux', architecture: 'arm', variant: 'v6' }),
    child('of amd64', unknown, 'amd64'),
    child('of v6', unknown, 'v6'),
    child('any'),
  ];
  const chosen = (...platforms: string[]) => selectPlatforms(platforms, children).map(({ digest }) => digest);
  expect(chosen('linux/amd64')).toEqual(['amd64', 'of amd64', 'any']);
  expect(chosen('linux/arm/v7')).toEqual(['v7', 'any']);
  expect(chosen('linux/arm')).toEqual(['v7', 'v6', 'of v6', 'any']);
});
