import { env } from 'cloudflare:workers';
import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { formatUploadReference, SESSION_MILLISECONDS } from '../../src/stores/uploads/upload-reference.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { addUsers, codeOf } from '../support/client.ts';
import { bytesOf, snapshotWithoutUse } from '../support/fixture.ts';
import { type As, type Host, HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

const START = bytesOf(1, 40);
const END = bytesOf(2, 30);
const WHOLE = Uint8Array.from([...START, ...END]);
const DIGEST = await digestOf('sha256', WHOLE);

const referenceOf = (location: string): string => location.slice(location.lastIndexOf('/') + 1);

/** Sends every kind of request to a session, and returns the statuses and codes. */
async function tryAll(
  host: Host,
  repository: string,
  reference: string,
  as: As,
): Promise<(number | string | undefined)[]> {
  const path = `/v2/${repository}/blobs/uploads/${reference}`;
  const answers: (number | string | undefined)[] = [];
  for (const [method, query, body] of [
    ['GET', '', null],
    ['PATCH', '', END],
    ['PUT', `?digest=${DIGEST}`, END],
    ['DELETE', '', null],
  ] as const) {
    const response = await host.call(method, `${path}${query}`, { as, body });
    answers.push(response.status, await codeOf(response));
  }
  return answers;
}

const UNKNOWN = [
  404,
  'BLOB_UPLOAD_UNKNOWN',
  404,
  'BLOB_UPLOAD_UNKNOWN',
  404,
  'BLOB_UPLOAD_UNKNOWN',
  404,
  'BLOB_UPLOAD_UNKNOWN',
];
const DENIED = [403, 'DENIED', 403, 'DENIED', 403, 'DENIED', 403, 'DENIED'];

async function started(host: Host): Promise<string> {
  const patched = await host.call('PATCH', await host.open('alice/app'), { as: 'alice', body: START });
  return patched.headers.get('Location') ?? '';
}

describe.each(HOSTS_AND_NODES)("another's upload session is unknown or denied at $name", (host) => {
  test.each<[string, string, As, readonly unknown[]]>([
    ['another repository', 'alice/other', 'alice', UNKNOWN],
    ['a repository below', 'alice/app/below', 'alice', UNKNOWN],
    ['another credential of the organization', 'alice/app', 'aliceApp', UNKNOWN],
    ['another organization, in its own repository', 'bob/app', 'bob', UNKNOWN],
    ['another organization', 'alice/app', 'bob', DENIED],
    ['a credential that may only pull', 'alice/app', 'aliceReader', DENIED],
    ['the platform', 'alice/app', 'platform', DENIED],
    ['an administrator', 'alice/app', 'admin', DENIED],
  ])('in the hands of %s; its owner can continue it', async (_who, repository, as, answers) => {
    for (const location of [await host.open('alice/app'), await started(host)]) {
      expect(await tryAll(host, repository, referenceOf(location), as)).toEqual(answers);
    }
    const location = await started(host);
    await tryAll(host, repository, referenceOf(location), as);
    expect((await host.call('PUT', `${location}?digest=${DIGEST}`, { as: 'alice', body: END })).status).toBe(201);
    expect(
      (await host.call('HEAD', `/v2/alice/app/blobs/${DIGEST}`, { as: 'alice' })).headers.get('Content-Length'),
    ).toBe('70');
  });

  test('a token of the owner for another repository does not help', async () => {
    const token = await host.tokenFor('alice', 'repository:alice/other:pull,push');
    const location = await started(host);
    expect((await host.call('PATCH', location, { as: token, body: END })).status).toBe(401);
    expect(await tryAll(host, 'alice/other', referenceOf(location), token)).toEqual(UNKNOWN);
  });

  test.each([{ store: 'other' }, { store: 'node:eu-1' }, { store: '' }])('of another store: %o', async ({ store }) => {
    const signer = await SigningKeys.import([env.SIGNING_KEY]);
    const owner = { store, repository: 'alice/app' as RepositoryName, subject: 'id-of-alice' };
    const reference = {
      id: crypto.randomUUID(),
      offset: 0,
      expiresAt: Date.now() + SESSION_MILLISECONDS,
      algorithm: 'sha256',
    } as const;
    const own = await formatUploadReference(signer, { ...owner, store: host.name }, reference);
    expect(await host.read(`/v2/alice/app/blobs/uploads/${own}`, 'alice')).toBe(204);
    expect(await tryAll(host, 'alice/app', await formatUploadReference(signer, owner, reference), 'alice')).toEqual(
      UNKNOWN,
    );
  });

  test('a cancelled session is unknown to its owner too', async () => {
    const location = await started(host);
    expect((await host.call('DELETE', location, { as: 'alice' })).status).toBe(204);
    expect(await tryAll(host, 'alice/app', referenceOf(location), 'alice')).toEqual(UNKNOWN);
  });
});

describe.each(HOSTS_AND_NODES)('unsigned upload state is never accepted at $name', (host) => {
  test('a reference with any character changed, cut or added is unknown, and changes nothing', async () => {
    const reference = referenceOf(await started(host));
    const before = await snapshotWithoutUse();
    const changed = fc.oneof(
      fc
        .tuple(fc.nat(reference.length - 1), fc.constantFrom('0', '9', 'a', 'f', 'A', 'Z', '.', '_', '-', '~'))
        .map(([at, character]) => `${reference.slice(0, at)}${character}${reference.slice(at + 1)}`),
      fc.nat(reference.length - 1).map((length) => reference.slice(0, length)),
      fc
        .tuple(fc.nat(reference.length), fc.constantFrom('0', 'a', '.', '-', '_'))
        .map(([at, character]) => `${reference.slice(0, at)}${character}${reference.slice(at)}`),
      fc.shuffledSubarray(reference.split('.')).map((parts) => parts.join('.')),
    );
    await fc.assert(
      fc.asyncProperty(changed, async (text) => {
        fc.pre(text !== reference && !/^\.{0,2}$/.test(text));
        expect(await tryAll(host, 'alice/app', encodeURIComponent(text), 'alice')).toEqual(UNKNOWN);
      }),
      { numRuns: 60, seed: 20_261 },
    );
    expect(await snapshotWithoutUse()).toBe(before);
  });

  test.each([
    ['JSON', () => btoa(JSON.stringify({ id: crypto.randomUUID(), offset: 0, repository: 'alice/app' }))],
    ['a pickled object', () => 'gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAVzbGVlcJSFlFKULg'],
    ['a signature by an unknown key', async () => forged(await SigningKeys.import([btoa('x'.repeat(32))]))],
    ['a path', () => '..%2F..%2Fblobs%2Fsha256'],
    ['only an id', () => crypto.randomUUID()],
  ])('%s is unknown', async (_what, make) => {
    const before = await snapshotWithoutUse();
    expect(await tryAll(host, 'alice/app', await make(), 'alice')).toEqual(UNKNOWN);
    expect(await snapshotWithoutUse()).toBe(before);
  });
});

function forged(signer: SigningKeys): Promise<string> {
  const owner = { store: 'central', repository: 'alice/app' as RepositoryName, subject: 'id-of-alice' };
  return formatUploadReference(signer, owner, {
    id: crypto.randomUUID(),
    offset: 0,
    expiresAt: Date.now() + SESSION_MILLISECONDS,
    algorithm: 'sha256',
  });
}
