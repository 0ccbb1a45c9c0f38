import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Action } from '../../src/auth/credential.ts';
import { covers, formatScope, parseScopes, type Scope } from '../../src/auth/scope.ts';
import { parseRepositoryName } from '../../src/oci/reference.ts';

const app = parseRepositoryName('alice/app');
const base = parseRepositoryName('official/base');
const scopeOf = (...actions: Action[]): Scope => ({ type: 'repository', name: app, actions });
const toPullBase: Scope = { type: 'repository', name: base, actions: ['pull'] };

describe('parseScopes', () => {
  test.each<[client: string, parameters: string[], scopes: Scope[]]>([
    ['docker login, which requests none', [], []],
    ['docker pull', ['repository:alice/app:pull'], [scopeOf('pull')]],
    ['docker push, in the other order', ['repository:alice/app:push,pull'], [scopeOf('pull', 'push')]],
    ['oras delete', ['repository:alice/app:delete'], [scopeOf('delete')]],
    ['skopeo delete', ['repository:alice/app:*'], [scopeOf('pull', 'push', 'delete')]],
    ['a delete that reads first', ['repository:alice/app:pull,delete'], [scopeOf('pull', 'delete')]],
    ['everything, and more', ['repository:alice/app:pull,*'], [scopeOf('pull', 'push', 'delete')]],
    ['crane catalog', ['registry:catalog:*'], [{ type: 'catalog' }]],
    [
      'a mount with two parameters',
      ['repository:alice/app:pull,push', 'repository:official/base:pull'],
      [scopeOf('pull', 'push'), toPullBase],
    ],
    [
      'a mount with two scopes in one parameter',
      ['repository:alice/app:pull,push repository:official/base:pull'],
      [scopeOf('pull', 'push'), toPullBase],
    ],
    ['a resource class', ['repository(plugin):alice/app:pull'], [scopeOf('pull')]],
    ['actions that repeat', ['repository:alice/app:pull,pull'], [scopeOf('pull')]],
    ['an unknown action', ['repository:alice/app:pull,admin'], [scopeOf('pull')]],
    ['no action', ['repository:alice/app:'], [scopeOf()]],
    ['spaces around', ['  repository:alice/app:pull  '], [scopeOf('pull')]],
  ])('understands %s', (_, parameters, scopes) => {
    expect(parseScopes(parameters)).toEqual(scopes);
  });

  test.each([
    '',
    ' ',
    'repository',
    'repository:alice/app',
    'repository::pull',
    'repository:alice:pull',
    'repository:alice/App:pull',
    'repository:alice/../bob:pull',
    'repository:localhost:5000/alice/app:pull',
    'repository:alice/app:PULL',
    'repository:alice/app:pull\n',
    'repository():alice/app:pull',
    'Repository:alice/app:pull',
    'registry:catalog:pull',
    'registry:catalog:*,pull',
    'catalog',
    '*',
    '<script>',
  ])('ignores %j, and keeps the scopes beside it', (text) => {
    expect(parseScopes([text])).toEqual([]);
    expect(parseScopes([`repository:alice/app:pull ${text}`, text, 'registry:catalog:*'])).toEqual([
      scopeOf('pull'),
      { type: 'catalog' },
    ]);
  });

  test('reads what formatScope wrote, each scope once', () => {
    const scope = fc.oneof(
      fc.constant<Scope>({ type: 'catalog' }),
      fc.subarray<Action>(['pull', 'push', 'delete']).map((actions) => scopeOf(...actions)),
    );
    fc.assert(
      fc.property(fc.uniqueArray(scope, { maxLength: 4, selector: formatScope }), (scopes) => {
        expect(parseScopes([scopes.map(formatScope).join(' ')])).toEqual(scopes);
        expect(parseScopes(scopes.map(formatScope))).toEqual(scopes);
      }),
      { seed: 401 },
    );
  });

  test('accepts a repeated scope once, at most 32 scopes, and at most 4,096 characters of them', () => {
    expect(parseScopes(['repository:a/b:pull repository:a/b:pull', 'repository:a/b:pull'])).toHaveLength(1);
    expect(parseScopes(Array.from({ length: 200 }, (_, i) => `repository:a/b${i}:pull`))).toHaveLength(32);
    const long = Array.from({ length: 32 }, (_, i) => `repository:a/${'b'.repeat(200)}${i + 10}:pull`);
    expect(parseScopes(long)).toHaveLength(Math.floor(4096 / long[0]!.length));
    expect(parseScopes(long.slice(0, 5))).toHaveLength(5);
  });

  test('accepts any text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('repository:', 'a/b', ':', '*', ',', ' ', 'pull') }),
    );
    fc.assert(
      fc.property(fc.array(text), (parameters) => {
        for (const scope of parseScopes(parameters)) {
          if (scope.type === 'repository') expect(parseRepositoryName(scope.name)).toBe(scope.name);
        }
      }),
      { seed: 402, numRuns: 1000 },
    );
  });
});

describe('formatScope', () => {
  test('writes the grammar of the token flow', () => {
    expect(formatScope(scopeOf('pull', 'push'))).toBe('repository:alice/app:pull,push');
    expect(formatScope({ type: 'catalog' })).toBe('registry:catalog:*');
  });
});

describe('covers', () => {
  test.each<[scope: string, covered: Action[]]>([
    ['', []],
    ['repository:alice/app:', []],
    ['repository:alice/app:pull', ['pull']],
    // Older clients delete with this scope.
    ['repository:alice/app:pull,push', ['pull', 'push', 'delete']],
    ['repository:alice/app:push', ['push', 'delete']],
    ['repository:alice/app:delete', ['delete']],
    ['repository:alice/app:*', ['pull', 'push', 'delete']],
    ['repository:alice/app:pull repository:alice/app:delete', ['pull', 'delete']],
    ['repository:alice/app2:* repository:alice/ap:* repository:alice/app/x:*', []],
    ['registry:catalog:*', []],
  ])('%j', (text, covered) => {
    const actions: Action[] = ['pull', 'push', 'delete'];
    expect(actions.filter((action) => covers(parseScopes([text]), action, app))).toEqual(covered);
  });
});
