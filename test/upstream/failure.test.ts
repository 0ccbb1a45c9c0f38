import { expect, test } from 'vitest';
import { isExpected, mayPass, publicReasonOf, reasonOf, waitAfter } from '../../src/upstream/failure.ts';
import { LoginError } from '../../src/oci-client/authorization.ts';
import { ContentError } from '../../src/oci-client/content-error.ts';
import { RegistryError } from '../../src/oci-client/registry-error.ts';
import { TransportError } from '../../src/oci-client/transport.ts';
import { OciError } from '../../src/oci/errors.ts';
import { Postponed } from '../../src/upstream/connect.ts';

const answered = (status: number) => new RegistryError('upstream.example', new Response(null, { status }), 'no');

test.each<[unknown, boolean]>([
  [answered(429), true],
  [answered(503), true],
  [answered(401), false],
  [answered(404), false],
  [new ContentError('other bytes'), false],
  [new OciError('UNAVAILABLE'), true],
  [new OciError('UPLOAD_UNKNOWN'), true],
  [new OciError('MANIFEST_BLOB_UNKNOWN'), true],
  [new OciError('QUOTA_EXCEEDED'), false],
  [new OciError('DIGEST_INVALID'), false],
  [new TypeError('a mistake'), true],
])('after %s, another attempt is worth it: %s', (error, may) => {
  expect(mayPass(error)).toBe(may);
});

test('waits grow up to ten minutes', () => {
  expect([0, 1, 2, 3, 4, 5, 99].map(waitAfter)).toEqual([2000, 8000, 32_000, 128_000, 512_000, 600_000, 600_000]);
});

test('only errors that say what happened are shown', () => {
  expect(reasonOf(new TransportError('upstream.example does not answer'), undefined)).toContain('does not answer');
  expect(reasonOf(new TypeError('x is undefined'), undefined)).toBe('something went wrong in the registry');
  expect([new ContentError('x'), new TypeError('x')].map(isExpected)).toEqual([true, false]);
});

test.each<[unknown, string]>([
  [answered(503), 'it answers with status 503'],
  [new Postponed(1000, answered(429)), 'it answers with status 429'],
  [new LoginError(answered(401), new Response(null, { status: 401 })), 'it refuses the login of the mirror'],
  [new TransportError('no'), 'it cannot be reached'],
  [new ContentError('no'), 'it sends something wrong'],
  [new RegistryError('upstream.example', new Response('no'), 'no'), 'it sends something wrong'],
  [new TypeError('no'), 'something went wrong in this registry'],
])('the public reason of %s is "%s"', (error, reason) => {
  expect(publicReasonOf(error)).toBe(reason);
});

test('a reason shows no secret, however the upstream has sent it back', () => {
  const credential = { user: 'ci', secret: 'p&ss word' };
  const basic = btoa('ci:p&ss word');
  const reason = reasonOf(new ContentError(`${basic} p&ss word ${encodeURIComponent('p&ss word')}`), credential);
  expect(reason).toBe('… … …');
});
