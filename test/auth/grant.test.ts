import { describe, expect, test } from 'vitest';
import type { Credential } from '../../src/auth/credential.ts';
import { grantable } from '../../src/auth/grant.ts';
import { formatScope, parseScopes } from '../../src/auth/scope.ts';
import type { OrganizationName, RepositoryName } from '../../src/oci/reference.ts';

const PUBLIC = new Set(['bob/public', 'alice/public']);

const credentials: Record<string, Credential | undefined> = {
  anonymous: undefined,
  full: aliceWith(['pull', 'push', 'delete'], ['alice/*']),
  'pull-only': aliceWith(['pull'], ['alice/*']),
  'push-only': aliceWith(['push'], ['alice/*']),
  limited: aliceWith(['pull', 'push'], ['alice/app']),
  platform: { kind: 'platform', id: 'p' },
  administrator: { kind: 'administrator', id: 'a' },
};

function aliceWith(rights: ('pull' | 'push' | 'delete')[], repositories: string[]): Credential {
  return { kind: 'organization', id: 'c', organization: 'alice' as OrganizationName, rights, repositories };
}

async function granted(
  caller: string,
  asked: string,
): Promise<{ scopes: string; lookedUp: readonly RepositoryName[][] }> {
  const lookedUp: RepositoryName[][] = [];
  const scopes = await grantable(credentials[caller], parseScopes([asked]), (names) => {
    lookedUp.push([...names]);
    return Promise.resolve(new Set(names.filter((name) => PUBLIC.has(name))));
  });
  return { scopes: scopes.map(formatScope).join(' '), lookedUp };
}

describe('grantable', () => {
  test.each([
    ['full', 'repository:alice/app:pull,push', 'repository:alice/app:pull,push'],
    ['full', 'repository:alice/app:*', 'repository:alice/app:pull,push,delete'],
    ['full', 'repository:alice/app:delete', 'repository:alice/app:delete'],
    ['full', 'repository:bob/app:pull,push', ''],
    ['full', 'repository:bob/public:pull,push', 'repository:bob/public:pull'],
    ['full', 'repository:official/base:*', 'repository:official/base:pull'],
    ['full', 'repository:alice/app:push repository:bob/app:pull', 'repository:alice/app:push'],
    ['full', 'registry:catalog:*', 'registry:catalog:*'],
    ['full', 'repository:alice/app:', ''],
    ['full', '', ''],
    ['pull-only', 'repository:alice/app:*', 'repository:alice/app:pull'],
    ['push-only', 'repository:alice/app:*', 'repository:alice/app:push'],
    ['push-only', 'repository:alice/public:*', 'repository:alice/public:pull,push'],
    ['limited', 'repository:alice/app:* repository:alice/other:*', 'repository:alice/app:pull,push'],
    ['platform', 'repository:alice/app:* repository:bob/app:*', 'repository:alice/app:pull repository:bob/app:pull'],
    ['administrator', 'repository:alice/app:*', ''],
    ['administrator', 'repository:official/base:*', 'repository:official/base:pull'],
    ['anonymous', 'repository:alice/app:*', ''],
    ['anonymous', 'repository:official/base:pull', ''],
    ['anonymous', 'repository:bob/public:*', 'repository:bob/public:pull'],
    ['anonymous', 'repository:bob/public:push', ''],
    ['anonymous', 'registry:catalog:*', ''],
  ])('for %s, with the request %j, is %j', async (caller, asked, scopes) => {
    expect((await granted(caller, asked)).scopes).toBe(scopes);
  });

  test('looks up public repositories once, and only those that the credential does not open', async () => {
    const asked =
      'repository:alice/app:pull repository:bob/public:pull,push repository:bob/app:push repository:bob/b:pull';
    expect((await granted('full', asked)).lookedUp).toEqual([['bob/public', 'bob/b']]);
  });

  test('looks up nothing if the credential allows the whole request', async () => {
    expect((await granted('full', 'repository:alice/app:*')).lookedUp).toEqual([]);
    expect((await granted('anonymous', 'repository:bob/public:push')).lookedUp).toEqual([]);
  });
});
