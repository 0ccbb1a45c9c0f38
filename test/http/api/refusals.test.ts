/** The management API refuses a bad body, a name that is taken, and one that does not exist. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, callApi, codeOf, errorsOf } from '../../support/client.ts';

beforeEach(addUsers);

describe('an error names the bad field', () => {
  test.each([
    ['organizations', { name: 'Carol' }, 'name'],
    ['organizations', {}, 'name'],
    ['organizations', { name: 'carol', extra: 1 }, 'extra'],
    ['organizations/alice/credentials', { name: 'x' }, 'rights'],
    ['organizations/alice/credentials', { name: 'x', rights: [] }, 'rights'],
    ['organizations/alice/credentials', { name: 'x', rights: ['own'] }, 'rights.0'],
    ['organizations/alice/credentials', { name: '-x', rights: ['pull'] }, 'name'],
    ['organizations/alice/credentials', { name: 'x', rights: ['pull'], repositories: ['bob/*'] }, 'repositories.0'],
    [
      'organizations/alice/credentials',
      { name: 'x', rights: ['pull'], repositories: ['alice/*', '*'] },
      'repositories.1',
    ],
    ['organizations/alice/credentials', { name: 'x', rights: ['pull'], expires_at: 'soon' }, 'expires_at'],
    ['organizations/alice/repositories', { name: 'App' }, 'name'],
    ['organizations/alice/repositories', { name: 'app', visibility: 'secret' }, 'visibility'],
    ['credentials', { name: 'x', kind: 'king' }, 'kind'],
  ])('POST %s %j: the field %s', async (path, body, field) => {
    const response = await callApi('POST', path, 'admin', body);
    expect(response.status).toBe(400);
    const [error] = await errorsOf(response);
    expect(error?.code).toBe('FIELD_INVALID');
    expect(error?.message).toContain(field);
    expect(error?.detail['requestId']).toBe(response.headers.get('X-Request-Id'));
  });

  test('a body that is not JSON, or of another type, is refused', async () => {
    for (const headers of [{ 'Content-Type': 'application/json' }, { 'Content-Type': 'text/plain' }]) {
      const response = await call('POST', '/api/organizations', { as: 'admin', headers, body: '{' });
      expect([response.status, await codeOf(response)]).toEqual([400, 'FIELD_INVALID']);
    }
  });

  test('a body that is too large is refused', async () => {
    const response = await callApi('POST', 'organizations', 'admin', { name: 'x'.repeat(70_000) });
    expect([response.status, await codeOf(response)]).toEqual([413, 'SIZE_INVALID']);
  });

  test('creating something that exists is 409, and changing something that does not exist is 404', async () => {
    const cases = [
      ['POST', 'organizations', { name: 'alice' }, 409],
      ['POST', 'organizations/alice/credentials', { name: 'alice', rights: ['pull'] }, 409],
      ['POST', 'organizations/nobody/credentials', { name: 'x', rights: ['pull'] }, 404],
      ['POST', 'organizations/nobody/repositories', { name: 'x' }, 404],
      ['GET', 'organizations/nobody', undefined, 404],
      ['GET', 'organizations/nobody/usage', undefined, 404],
      ['DELETE', 'organizations/nobody', undefined, 404],
      ['DELETE', 'organizations/alice/credentials/nobody', undefined, 404],
      ['PATCH', 'organizations/alice/repositories/nothing', { visibility: 'public' }, 404],
      ['DELETE', 'organizations/alice/repositories/nothing', undefined, 404],
    ] as const;
    for (const [method, path, body, status] of cases) {
      expect([method, path, (await callApi(method, path, 'admin', body)).status]).toEqual([method, path, status]);
    }
  });
});
