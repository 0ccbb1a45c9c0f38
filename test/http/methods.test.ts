/** The methods that a path supports: Allow, OPTIONS, and reads by pages of other origins. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, basic, call, USERS } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { workerConfigured, workerWith } from '../support/worker-with.ts';

beforeEach(addUsers);

const DIGEST = `sha256:${'a'.repeat(64)}`;
const APP = '/v2/alice/app';
const ORGANIZATION = '/api/organizations/alice';

/** Every path with its methods other than OPTIONS; GET includes HEAD. */
const PATHS: Readonly<Record<string, string>> = {
  '/': 'GET, HEAD',
  '/healthz': 'GET, HEAD',
  '/metrics': 'GET, HEAD',
  '/token': 'GET, HEAD, POST',
  '/v2': 'GET, HEAD',
  '/v2/': 'GET, HEAD',
  '/v2/_catalog': 'GET, HEAD',
  [`${APP}/manifests/latest`]: 'GET, HEAD, PUT, DELETE',
  [`${APP}/blobs/${DIGEST}`]: 'GET, HEAD, DELETE',
  [`${APP}/blobs/uploads/`]: 'POST',
  [`${APP}/blobs/uploads/session`]: 'GET, HEAD, PUT, PATCH, DELETE',
  [`${APP}/tags/list`]: 'GET, HEAD',
  [`${APP}/referrers/${DIGEST}`]: 'GET, HEAD',
  '/v1/images': 'GET, HEAD',
  '/v1/image-store': 'GET, HEAD',
  '/v1/images/list': 'GET, HEAD',
  '/v1/auth': 'GET, HEAD',
  '/api/v2.0/projects/alice/repositories/app': 'DELETE',
  '/api/v2.0/projects/alice/summary': 'GET, HEAD',
  '/api/openapi.json': 'GET, HEAD',
  '/api/organizations': 'GET, HEAD, POST',
  [ORGANIZATION]: 'GET, HEAD, DELETE',
  [`${ORGANIZATION}/quota`]: 'PUT',
  [`${ORGANIZATION}/repositories/app`]: 'GET, HEAD, PATCH, DELETE',
  [`${ORGANIZATION}/repositories/app/images/latest/pins/node1`]: 'PUT, DELETE',
};

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'];

const as = { authorization: basic(USERS.admin) };

describe.each(Object.entries(PATHS))('%s', (path, methods) => {
  const allowed = methods.split(', ');

  test('answers a method that it does not support with 405 and Allow', async () => {
    for (const method of METHODS.filter((each) => !allowed.includes(each))) {
      const response = await call(method, path, { as });
      expect([method, response.status, response.headers.get('Allow')]).toEqual([method, 405, `${methods}, OPTIONS`]);
    }
  });

  test('answers OPTIONS with its methods to everybody, and reveals nothing else', async () => {
    const response = await call('OPTIONS', path);
    expect([response.status, response.headers.get('Allow'), await response.text()]).toEqual([
      204,
      `${methods}, OPTIONS`,
      '',
    ]);
    expect(response.headers.get('Access-Control-Allow-Origin')).toBeNull();
  });
});

test('every path of the OpenAPI document answers OPTIONS with the documented methods', async () => {
  const { paths } = await (await call('GET', '/api/openapi.json')).json<{ paths: Record<string, object> }>();
  for (const [path, operations] of Object.entries(paths)) {
    const sent = await call('OPTIONS', path.replaceAll(/\{\w+\}/g, 'node1'));
    const described = Object.keys(operations).flatMap((method) =>
      method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()],
    );
    expect([path, (sent.headers.get('Allow') ?? '').split(', ').toSorted()]).toEqual([
      path,
      [...described, 'OPTIONS'].toSorted(),
    ]);
  }
});

test('a path that does not exist is 404 for every method, without Allow', async () => {
  for (const path of [
    '/nothing',
    '/v2/alice/app/nothing',
    '/v1/nothing',
    '/api/v2.0/nothing',
    '/api/nothing',
    '/healthz/',
  ]) {
    for (const method of [...METHODS, 'OPTIONS']) {
      const response = await call(method, path, { as });
      expect([path, method, response.status, response.headers.get('Allow')]).toEqual([path, method, 404, null]);
    }
  }
});

test('a 405 that says why a method cannot be used now omits that method from Allow', async () => {
  const image = await putImage('alice/app', 1, ['latest']);
  const response = await call('DELETE', `${APP}/blobs/${image.manifest.requiredBlobs[0]}`, { as: 'alice' });
  expect([response.status, response.headers.get('Allow')]).toEqual([405, 'GET, HEAD, OPTIONS']);
});

describe('Docker-Distribution-API-Version', () => {
  test('is on every answer under /v2/, most importantly the challenge', async () => {
    const image = await putImage('alice/app', 1, ['latest']);
    const cases = [
      ['GET', '/v2', undefined, 401],
      ['GET', '/v2/', undefined, 401],
      ['GET', '/v2/', { authorization: 'Bearer x.y.z' }, 401],
      ['GET', '/v2/', 'alice', 200],
      ['HEAD', '/v2/', 'alice', 200],
      ['GET', `${APP}/manifests/latest`, 'alice', 200],
      ['HEAD', `${APP}/blobs/${image.manifest.requiredBlobs[0]}`, 'alice', 200],
      ['GET', `${APP}/manifests/none`, 'alice', 404],
      ['GET', '/v2/nothing', 'alice', 404],
      ['GET', '/v2/nothing', undefined, 404],
      ['PUT', `${APP}/manifests/latest`, 'alice', 400],
      ['PUT', `${APP}/manifests/latest`, 'bob', 403],
      ['POST', `${APP}/blobs/uploads/`, 'alice', 202],
      ['POST', '/v2/', 'alice', 405],
      ['OPTIONS', '/v2/', undefined, 204],
      ['GET', 'http://typo.example.com/v2/', undefined, 404],
    ] as const;
    for (const [method, path, user, status] of cases) {
      const response = await call(method, path, user === undefined ? {} : { as: user });
      const version = response.headers.get('Docker-Distribution-API-Version');
      expect([method, path, response.status, version]).toEqual([method, path, status, 'registry/2.0']);
    }
  });

  test('is there even without a configuration', async () => {
    const response = await call('GET', '/v2/', { fetcher: workerWith({ SIGNING_KEY: undefined }) });
    expect([response.status, response.headers.get('Docker-Distribution-API-Version')]).toEqual([503, 'registry/2.0']);
  });

  test('is on no other answer', async () => {
    for (const path of ['/', '/token', '/healthz', '/api/openapi.json', '/v2x']) {
      expect((await call('GET', path)).headers.get('Docker-Distribution-API-Version')).toBeNull();
    }
  });
});

const ORIGIN = 'https://ui.example.com';

/** Sends a request to a registry whose operator has listed {@link ORIGIN}. */
function askListed(method: string, path: string, headers: Record<string, string>): Promise<Response> {
  return call(method, path, { headers, fetcher: workerConfigured({ cors_origins: [ORIGIN] }) });
}

const preflight = (method: string) => ({
  Origin: ORIGIN,
  'Access-Control-Request-Method': method,
  'Access-Control-Request-Headers': 'authorization',
});

describe('a page of an origin that the operator lists', () => {
  test.each(['/v2/', `${APP}/manifests/latest`, '/token', `${ORGANIZATION}/usage`])(
    'may send a preflight for %s, without credentials',
    async (path) => {
      const response = await askListed('OPTIONS', path, preflight('GET'));
      expect(response.status).toBe(204);
      expect(response.headers.get('Access-Control-Allow-Origin')).toBe(ORIGIN);
      expect(response.headers.get('Access-Control-Allow-Methods')).toBe('GET,HEAD');
      expect(response.headers.get('Access-Control-Allow-Headers')?.split(',')).toEqual(
        expect.arrayContaining(['Authorization', 'Accept', 'Range']),
      );
      expect(response.headers.get('Access-Control-Allow-Credentials')).toBeNull();
      expect(response.headers.get('Vary')).toContain('Origin');
      expect(response.headers.get('Allow')).toContain('GET');
    },
  );

  test('may read answers, errors included, and the headers that clients need', async () => {
    const image = await putImage('alice/app', 1, ['latest']);
    const cases = [
      [`${APP}/manifests/latest`, basic(USERS.alice), 200],
      [`${APP}/manifests/none`, basic(USERS.alice), 404],
      [`${APP}/blobs/${image.manifest.requiredBlobs[0]}`, basic(USERS.alice), 200],
      ['/v2/', '', 401],
      ['/token', basic(USERS.alice), 200],
      ['/nothing', '', 404],
    ] as const;
    for (const [path, authorization, status] of cases) {
      for (const method of ['GET', 'HEAD']) {
        const response = await askListed(method, path, {
          Origin: ORIGIN,
          ...(authorization !== '' && { Authorization: authorization }),
        });
        const allowed = response.headers.get('Access-Control-Allow-Origin');
        expect([path, method, response.status, allowed]).toEqual([path, method, status, ORIGIN]);
        expect(response.headers.get('Access-Control-Expose-Headers')?.split(',')).toEqual(
          expect.arrayContaining(['Docker-Content-Digest', 'Link', 'Content-Range', 'WWW-Authenticate']),
        );
      }
    }
  });

  test('may not write: neither a preflight nor an answer allows it', async () => {
    for (const method of ['PUT', 'POST', 'PATCH', 'DELETE']) {
      const asked = await askListed('OPTIONS', `${APP}/manifests/latest`, preflight(method));
      expect(asked.headers.get('Access-Control-Allow-Methods')).toBe('GET,HEAD');
      const written = await askListed(method, `${APP}/manifests/latest`, { Origin: ORIGIN });
      expect([method, written.headers.get('Access-Control-Allow-Origin')]).toEqual([method, null]);
    }
  });
});

test('a page of any other origin reads nothing; without a list, no page does', async () => {
  for (const origin of ['https://other.example.com', 'https://ui.example.com:8443', 'http://ui.example.com', 'null']) {
    for (const method of ['GET', 'OPTIONS']) {
      const response = await askListed(method, '/v2/', { ...preflight('GET'), Origin: origin });
      expect([origin, response.headers.get('Access-Control-Allow-Origin')]).toEqual([origin, null]);
      expect(response.headers.get('Vary')).toContain('Origin');
    }
  }
  for (const method of ['GET', 'OPTIONS']) {
    const response = await call(method, '/v2/', { headers: preflight('GET') });
    const headers = [...response.headers.keys()].filter(
      (name) => name.startsWith('access-control-') || name === 'vary',
    );
    expect(headers).toEqual([]);
  }
});
