import { expect, test } from 'vitest';
import { SequentialRouter } from '../../src/http/router.ts';

/** Returns the names of the routes that match, each with its parameters. */
function matched(
  routes: readonly (readonly [method: string, path: string])[],
  method: string,
  path: string,
): unknown[] {
  const router = new SequentialRouter<string>();
  for (const [of, pattern] of routes) router.add(of, pattern, `${of} ${pattern}`);
  const [matches] = router.match(method, path);
  return matches.map(([handler, params]) => [handler, { ...params }]);
}

test('handlers come in the order in which they were added, whether for one method or for all', () => {
  const routes = [
    ['ALL', '/*'],
    ['GET', '/v2/:name'],
    ['PUT', '/v2/:name'],
    ['ALL', '/v2/*'],
  ] as const;
  expect(matched(routes, 'GET', '/v2/alice')).toEqual([
    ['ALL /*', {}],
    ['GET /v2/:name', { name: 'alice' }],
    ['ALL /v2/*', {}],
  ]);
});

test.each([
  ['/*', '/', true],
  ['/*', '/a/b', true],
  ['/v2/*', '/v2', true],
  ['/v2/*', '/v2/', true],
  ['/v2/*', '/v2/a/b', true],
  ['/v2/*', '/v22', false],
  ['/v2', '/v2/', false],
  ['/v2/', '/v2/', true],
  ['/v2/', '/v2', false],
  ['/api/v2.0', '/api/v2x0', false],
  ['/v2/:name', '/v2/a/b', false],
  ['/v2/:name', '/v2/', false],
  ['/v2/:name', '/v2/a\nb', true],
  ['/v2/:id{[0-9]{2}}', '/v2/12', true],
  ['/v2/:id{[0-9]{2}}', '/v2/123', false],
])('the route %s and the path %j: %s', (route, path, isMatch) => {
  expect(matched([['GET', route]], 'GET', path)).toHaveLength(isMatch ? 1 : 0);
});

test('a name may contain slashes, and ends before the last `/manifests/<reference>`', () => {
  const route = '/v2/:name{[^]+(?=/manifests/[^/]+$)}/manifests/:reference';
  expect(matched([['GET', route]], 'GET', '/v2/alice/manifests/app/manifests/latest')).toEqual([
    [`GET ${route}`, { name: 'alice/manifests/app', reference: 'latest' }],
  ]);
});
