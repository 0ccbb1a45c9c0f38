import { expect, test } from 'vitest';
import { parseChallenge } from '../../src/oci-client/challenge.ts';

const registry = new URL('https://registry.example/');
const bearer = { scheme: 'bearer', realm: new URL('https://auth.example/token'), service: undefined };

test.each([
  [null, undefined],
  ['Negotiate', undefined],
  ['Bearer', undefined],
  ['Bearer realm="http://"', undefined],
  ['Basic realm="registry"', { scheme: 'basic' }],
  ['basic', { scheme: 'basic' }],
  ['Bearer realm="https://auth.example/token"', bearer],
  ['BEARER realm=https://auth.example/token', bearer],
  ['Bearer realm="https://auth.example/token",service="a \\"b\\", c"', { ...bearer, service: 'a "b", c' }],
  [
    'Bearer service="s", realm="https://auth.example/token", scope="repository:a/b:pull,push"',
    { ...bearer, service: 's' },
  ],
  ['Basic realm="registry", Bearer realm="https://auth.example/token"', bearer],
  ['Bearer realm="https://auth.example/token", Basic realm="registry"', bearer],
  ['Bearer realm="/token"', { ...bearer, realm: new URL('https://registry.example/token') }],
])('%s', (header, expected) => {
  expect(parseChallenge(header, registry)).toEqual(expected);
});
