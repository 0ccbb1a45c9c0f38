import { expect, test } from 'vitest';
import { isExpected, mayPass, reasonOf, waitAfter } from '../../src/upstream/failure.ts';
import { ContentError } from '../../src/oci-client/content-error.ts';
import { RegistryError } from '../../src/oci-client/registry-error.ts';
import { TransportError } from '../../src/oci-client/transport.ts';
import { OciError } from '../../src/oci/errors.ts';

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

test('a reason shows no secret, however the upstream has sent it back', () => {
  const credential = { user: 'ci', secret: 'p&ss word' };
  const basic = btoa('ci:p&ss word');
  const reason = reasonOf(new ContentError(`${basic} p&ss word ${encodeURIComponent('p&ss word')}`), credential);
  expect(reason).toBe('… … …');
});
