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
  ['its own, all of it', member(['alice/*']), undefined, { ranges: [below('alice')], publicWithin: undefined }],
  ['its own, named', member(['alice/*']), ALICE, { ranges: [below('alice')], publicWithin: undefined }],
  [
    'what its patterns cover, and what is public',
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
    'without the right to pull, what is public',
    member(['alice/*'], ['push']),
    undefined,
    { ranges: [], publicWithin: below('alice') },
  ],
  ["another's, what is public", member(['alice/*']), BOB, { ranges: [], publicWithin: below('bob') }],
  ['official, all of it', member(['alice/app']), OFFICIAL, { ranges: [below('official')], publicWithin: undefined }],
  ['a node boots any', { kind: 'platform', id: 'x' }, BOB, { ranges: [below('bob')], publicWithin: undefined }],
  ['a node boots all', { kind: 'platform', id: 'x' }, undefined, { ranges: [ALL], publicWithin: undefined }],
  [
    'an administrator sees what everyone does',
    { kind: 'administrator', id: 'x' },
    undefined,
    { ranges: [below('official')], publicWithin: ALL },
  ],
])('%s', (_name, credential, named, expected) => {
  expect(listable(credential, named)).toEqual(expected);
});
