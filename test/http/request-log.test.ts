import { expect, test } from 'vitest';
import { routeOf } from '../../src/http/request-log.ts';

test.each([
  ['/v2/', 'v2'],
  ['/v2/_catalog', 'catalog'],
  ['/v2/alice/app/manifests/latest', 'manifests'],
  ['/v2/alice/manifests/blobs/sha256:00', 'blobs'],
  ['/v2/alice/app/blobs/uploads/', 'uploads'],
  ['/v2/alice/app/blobs/uploads/0197', 'uploads'],
  ['/v2/alice/app/tags/list', 'tags'],
  ['/v2/alice/app/referrers/sha256:00', 'referrers'],
  ['/token', 'token'],
  ['/v1/images', 'platform images'],
  ['/v1/images/list', 'platform images'],
  ['/v1/image-store', 'platform images'],
  ['/v1/auth', 'platform'],
  ['/api/v2.0/projects/alice/repositories/app', 'platform'],
  ['/api/organizations/alice', 'api'],
  ['/healthz', 'healthz'],
  ['/metrics', 'metrics'],
  ['/favicon.ico', 'other'],
])('%s counts as %s', (path, route) => {
  expect(routeOf(path)).toBe(route);
});
