import { expect, test } from 'vitest';
import { concernsUpstream } from '../../src/mirror/pause.ts';
import { LoginError } from '../../src/oci-client/authorization.ts';
import { ContentError } from '../../src/oci-client/content-error.ts';
import { RegistryError } from '../../src/oci-client/registry-error.ts';
import { TransportError } from '../../src/oci-client/transport.ts';
import { OciError } from '../../src/oci/errors.ts';

const answered = (status: number): RegistryError =>
  new RegistryError('upstream.example', new Response(null, { status }), 'it refuses');

test.each([
  ['no answer', new TransportError('no answer'), true],
  ['an upstream that is away', answered(503), true],
  ['a refused login', new LoginError(answered(401), new Response(null, { status: 401 })), true],
  ['a refusal', answered(403), false],
  ['wrong content', new ContentError('it is too large'), false],
  ['a lack of memory here', new OciError('UNAVAILABLE'), false],
])('%s concerns the upstream: %s', (_, error, concerns) => {
  expect(concernsUpstream(error)).toBe(concerns);
});
