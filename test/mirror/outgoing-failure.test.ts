import { describe, expect, test } from 'vitest';
import { LoginError } from '../../src/oci-client/authorization.ts';
import { ContentError } from '../../src/oci-client/content-error.ts';
import { RegistryError } from '../../src/oci-client/registry-error.ts';
import { TransportError } from '../../src/oci-client/transport.ts';
import { OciError } from '../../src/oci/errors.ts';
import { afterFailure, blameFor, MAX_ATTEMPTS } from '../../src/mirror/outgoing-failure.ts';
import { Postponed } from '../../src/upstream/connect.ts';

const answered = (status: number): RegistryError =>
  new RegistryError('upstream.example', new Response(null, { status }), 'it refuses');
const MINUTE = 60_000;

describe('a failure', () => {
  test.each([
    ['no answer', new TransportError('no answer')],
    ['a long wait', new Postponed(1000, answered(500))],
    ['a refused login', new LoginError(answered(401), new Response(null, { status: 401 }))],
    ['too many requests', answered(429)],
    ['an upstream that is away', answered(503)],
  ])('of the upstream parks no push, however often: %s', (_, error) => {
    expect(blameFor(error)).toBe('upstream');
    expect(afterFailure(11, error, 1000)).toEqual({ isParked: false, attempts: 11, dueAt: 1000 });
  });

  test('of the store here is waited for', () => {
    const error = new OciError('UNAVAILABLE');
    expect(afterFailure(3, error, 1000)).toEqual({ isParked: false, attempts: 3, dueAt: 6000 });
  });

  test.each([
    ['a refusal', answered(403)],
    ['a manifest that is not accepted', answered(400)],
    ['content that cannot be read', new ContentError('it is too large')],
    ['a blob that is gone', new OciError('BLOB_UNKNOWN')],
  ])('that no attempt can mend parks the push at once: %s', (_, error) => {
    expect(afterFailure(0, error, 1000)).toMatchObject({ isParked: true, attempts: 1 });
  });

  test('of a push is tried again, ever later, and then parks it', () => {
    const waits = Array.from({ length: MAX_ATTEMPTS }, (_, attempts) => afterFailure(attempts, answered(500), 0));
    expect(waits.slice(0, 3).map(({ dueAt }) => dueAt)).toEqual([5000, 10_000, 20_000]);
    expect(Math.max(...waits.map(({ dueAt }) => dueAt))).toBe(10 * MINUTE);
    expect(waits.map(({ isParked }) => isParked)).toEqual([...Array<boolean>(MAX_ATTEMPTS - 1).fill(false), true]);
  });
});
