/** Upstreams that misbehave. */
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import { bytesOf } from '../support/fixture.ts';
import {
  blobOf as addBlob,
  checkLoans,
  type MirroredBlob,
  objectOf,
  read,
  sameBytes,
  stored,
} from '../support/mirror-blobs.ts';
import { stopMirrors } from '../support/mirrors.ts';
import { stubUpstream } from '../support/stub-upstream.ts';

const LARGE = 3 * PART_BYTES + 777;
const MINUTE = 60_000;

const upstream = stubUpstream();
const expectNothingLent = checkLoans();
// The mirror's object keeps its login.
afterEach(stopMirrors);
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const blobOf = (size: number): Promise<MirroredBlob> => addBlob(upstream, size);
const ensure = (blob: MirroredBlob) => objectOf(blob).ensure(blob.wanted);

async function expectNothingStored(blob: MirroredBlob): Promise<void> {
  await expect(stored(blob)).rejects.toMatchObject({ kind: expect.stringMatching(/UNKNOWN/) as string });
  expect((await env.BLOBS_CENTRAL.list()).objects).toEqual([]);
  expectNothingLent();
}

/** Breaks the first connection after some bytes. */
function breaksOnce(at: number): void {
  let isBroken = false;
  upstream.answers = ({ method }, content) => {
    if (isBroken || method !== 'GET' || content === undefined) return undefined;
    isBroken = true;
    const headers = { 'content-length': String(content.byteLength) };
    return new Response(upstream.stream(content, at), { headers });
  };
}

describe('wrong bytes', () => {
  test.each([1000, LARGE])('of %d end every stream as broken, and nothing is stored', async (size) => {
    const blob = await blobOf(size);
    const wrong = bytesOf(1, size);
    const log = vi.spyOn(console, 'error');
    upstream.answers = ({ method }) => (method === 'GET' ? new Response(upstream.stream(wrong)) : undefined);
    const outcomes = await Promise.allSettled(Array.from({ length: 3 }, () => read(blob)));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(await ensure(blob)).toMatchObject({
      failed: `the upstream sent other bytes than those of ${blob.wanted.digest}`,
    });
    await expectNothingStored(blob);
    expect(upstream.gets()).toHaveLength(1);
    expect(log.mock.calls.flat().join('\n')).toContain('the upstream sent other bytes');
  });

  test('end in a pause, after which the upstream is asked again', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
    const blob = await blobOf(1000);
    upstream.answers = () => new Response(bytesOf(1, 1000));
    await expect(read(blob)).rejects.toThrow();
    await expect(read(blob)).rejects.toThrow('the upstream sent other bytes');
    expect(upstream.gets()).toHaveLength(1);
    upstream.answers = () => undefined;
    vi.setSystemTime(Date.now() + 3000);
    expect(sameBytes(await read(blob), blob.content)).toBe(true);
  });

  test('of an HTML page are refused', async () => {
    const blob = await blobOf(5000);
    upstream.answers = ({ headers }) =>
      headers.has('range')
        ? new Response(null, { status: 416 })
        : new Response('<html>please log in</html>', { headers: { 'content-type': 'text/html' } });
    await expect(read(blob)).rejects.toThrow();
    await expectNothingStored(blob);
  });
});

test('a size that no store can take is refused', async () => {
  const { wanted, content } = await blobOf(5000);
  const blob = { content, wanted: { ...wanted, size: 999_999_999_999_999 } };
  expect(await ensure(blob)).toEqual({
    failed: `${wanted.digest} is larger than any blob that can be stored`,
    mayPass: false,
  });
  expect(upstream.requests).toEqual([]);
});

describe('a connection that breaks', () => {
  test.each([
    [5000, 3000],
    [LARGE, PART_BYTES + 5],
  ])('in a blob of %d after %d is resumed at that byte', async (size, at) => {
    const blob = await blobOf(size);
    breaksOnce(at);
    expect(sameBytes(await read(blob), blob.content)).toBe(true);
    expect(await ensure(blob)).toBe('stored');
    expect(upstream.gets().map((each) => each.split(' ')[2])).toEqual([undefined, `bytes=${at}-${size - 1}`]);
    expect(upstream.sent).toBe(size);
  });

  test('is begun again where ranges are ignored, and no byte is given twice', async () => {
    const blob = await blobOf(5000);
    let requests = 0;
    upstream.answers = (_request, content) => {
      requests += 1;
      return new Response(upstream.stream(content!, requests === 1 ? 3000 : undefined));
    };
    expect(sameBytes(await read(blob), blob.content)).toBe(true);
    expect(requests).toBe(2);
  });
});

test('an upstream that asks to wait long is not asked before', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
  const blob = await blobOf(5000);
  upstream.answers = () => new Response(null, { status: 429, headers: { 'retry-after': '120' } });
  expect(await ensure(blob)).toMatchObject({ failed: expect.stringContaining('status 429') as string });
  vi.setSystemTime(Date.now() + MINUTE);
  await expect(read(blob)).rejects.toThrow('status 429');
  expect(upstream.gets()).toHaveLength(1);
  upstream.answers = () => undefined;
  vi.setSystemTime(Date.now() + 1.1 * MINUTE);
  expect(await ensure(blob)).toBe('stored');
});

describe('a HEAD', () => {
  const sizeOf = async (blob: MirroredBlob) => objectOf(blob).size(blob.wanted);

  test('asks the upstream nothing during the pause after a failed read', async () => {
    const blob = await blobOf(5000);
    upstream.answers = () => new Response(null, { status: 429, headers: { 'retry-after': '120' } });
    await expect(read(blob)).rejects.toThrow('status 429');
    upstream.asked();
    upstream.answers = () => undefined;
    await expect(sizeOf(blob)).rejects.toThrow('status 429');
    expect(upstream.asked()).toEqual([]);
  });

  test('that fails begins a pause, and many at once are one question', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
    const blob = await blobOf(5000);
    upstream.answers = () => new Response(null, { status: 429, headers: { 'retry-after': '120' } });
    const outcomes = await Promise.allSettled(Array.from({ length: 16 }, () => sizeOf(blob)));
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['rejected']));
    await expect(read(blob)).rejects.toThrow('status 429');
    expect(upstream.asked()).toHaveLength(1);
    upstream.answers = () => undefined;
    vi.setSystemTime(Date.now() + 2.1 * MINUTE);
    expect(await sizeOf(blob)).toBe(5000);
  });

  test('that is answered without a size does not keep the blob from being read', async () => {
    const blob = await blobOf(5000);
    upstream.answers = ({ method }) => (method === 'HEAD' ? new Response(null) : undefined);
    await expect(sizeOf(blob)).rejects.toThrow('was answered without its size');
    expect(sameBytes(await read(blob), blob.content)).toBe(true);
  });
});

describe('a redirect', () => {
  const LOGIN = { user: 'ci', secret: 'a-secret-of-the-upstream' };

  test('to another host is followed without the login', async () => {
    const { wanted: open, content } = await blobOf(5000);
    const blob = { content, wanted: { ...open, mirror: { ...open.mirror, credential: LOGIN } } };
    const told: [string, boolean][] = [];
    upstream.answers = ({ url, headers }) => {
      const { host, pathname } = new URL(url);
      const isTold = headers.has('authorization');
      told.push([host, isTold]);
      if (host === 'cdn.example') return undefined;
      return isTold
        ? new Response(null, { status: 307, headers: { location: `https://cdn.example${pathname}` } })
        : new Response(null, { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } });
    };
    expect(await ensure(blob)).toBe('stored');
    expect(told).toEqual([
      ['upstream.example', false],
      ['upstream.example', true],
      ['cdn.example', false],
    ]);
  });

  test('to an address of the network is not followed', async () => {
    const blob = await blobOf(5000);
    upstream.answers = () => new Response(null, { status: 307, headers: { location: 'https://169.254.169.254/' } });
    expect(await ensure(blob)).toMatchObject({
      failed: 'a request is not sent, because 169.254.169.254 is an address, not a name',
    });
  });
});

test('a login that the upstream sends back is not shown', async () => {
  const { wanted: open, content } = await blobOf(5000);
  const credential = { user: 'ci', secret: 'a-secret-that-comes-back' };
  const blob = { content, wanted: { ...open, mirror: { ...open.mirror, credential } } };
  upstream.answers = () =>
    Response.json({ errors: [{ code: 'DENIED', message: `not ${credential.secret}` }] }, { status: 400 });
  const log = vi.spyOn(console, 'error');
  expect(await ensure(blob)).toMatchObject({ failed: expect.stringContaining('not …') as string });
  await expect(read(blob)).rejects.toThrow('not …');
  expect(log.mock.calls.flat().join('\n')).not.toContain(credential.secret);
});

test('an answer names a token service that is away', async () => {
  const blob = await blobOf(5000);
  const realm = 'https://auth.example/token';
  upstream.answers = ({ url }) =>
    url.startsWith(realm)
      ? new Response(null, { status: 400 })
      : new Response(null, { status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}"` } });
  expect(await ensure(blob)).toMatchObject({ failed: 'auth.example: the login was answered with status 400' });
});
