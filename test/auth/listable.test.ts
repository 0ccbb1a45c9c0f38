import { expect, test } from 'vitest';
import type { Credential } from '../../src/auth/credential.ts';
import { listable } from '../../src/auth/listable.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';

const [ALICE, BOB, OFFICIAL] = ['alice', 'bob', 'official'] as OrganizationName[];

function member(repositories: readonly string[], rights: readonly ('pull' | 'push')[] = ['pull']): Credential {
  return { kind: 'organization', id: 'x', organization: ALICE as OrganizationName, rights, repositories };
}

const below = (path: string) => ({ from: `${path}/`, to: `${path}0` });
const ALL = { from: '', to: '\u{7f}' };

test.each<[string, Credential, OrganizationName | undefined, ReturnType<typeof listable>]>([
  ['its whole organization', member(['alice/*']), undefined, { ranges: [below('alice')], publicWithin: undefined }],
  ['its organization by name', member(['alice/*']), ALICE, { ranges: [below('alice')], publicWithin: undefined }],
  [
    'its patterns, and public repositories',
    member(['alice/app', 'alice/team/*']),
    undefined,
    { ranges: [{ from: 'alice/app', to: 'alice/app\0' }, below('alice/team')], publicWithin: below('alice') },
  ],
  [
    'a pattern of another organization opens nothing',
    member(['bob/*']),
    BOB,
    { ranges: [], publicWithin: below('bob') },
  ],
  [
    'without the right to pull, public repositories',
    member(['alice/*'], ['push']),
    undefined,
    { ranges: [], publicWithin: below('alice') },
  ],
  ["another organization's public repositories", member(['alice/*']), BOB, { ranges: [], publicWithin: below('bob') }],
  ['all of official', member(['alice/app']), OFFICIAL, { ranges: [below('official')], publicWithin: undefined }],
  [
    'the platform, any organization',
    { kind: 'platform', id: 'x' },
    BOB,
    { ranges: [below('bob')], publicWithin: undefined },
  ],
  [
    'the platform, every organization',
    { kind: 'platform', id: 'x' },
    undefined,
    { ranges: [ALL], publicWithin: undefined },
  ],
  [
    'an administrator, official and public repositories',
    { kind: 'administrator', id: 'x' },
    undefined,
    { ranges: [below('official')], publicWithin: ALL },
  ],
])('%s', (_name, credential, named, expected) => {
  expect(listable(credential, named)).toEqual(expected);
});
