import { beforeEach, expect, test } from 'vitest';
import { contentOf } from '../../src/oci-client/blob-download.ts';
import { uploadBlob, type UploadOptions } from '../../src/oci-client/blob-upload.ts';
import { BodyLimit } from '../../src/oci-client/body-limit.ts';
import type { Content } from '../../src/oci-client/content.ts';
import { Repository } from '../../src/oci-client/repository.ts';
import { TransportError } from '../../src/oci-client/transport.ts';
import { addUsers, call } from '../support/client.ts';
import { putBlob } from '../support/content.ts';
import { bytesOf, contentDigest } from '../support/fixture.ts';
import { hostOf, type Interference, wired } from './support.ts';

beforeEach(addUsers);

const bytes = bytesOf(1, 10_000);

async function content(from: Uint8Array<ArrayBuffer> = bytes): Promise<Content> {
  const open = (start: number, end: number): ReadableStream<Uint8Array> => new Blob([from.slice(start, end)]).stream();
  return { digest: await contentDigest(from), size: from.byteLength, open };
}

class Records extends Map<string, string> {
  readonly read = async (key: string) => this.get(key);
  readonly write = async (key: string, location: string) => void this.set(key, location);
  readonly remove = async (key: string) => void this.delete(key);
}

function repository(interfere?: Interference, name = 'alice/app') {
  const wire = wired(interfere);
  return { wire, repository: new Repository(hostOf(wire), name, 'push') };
}

const chunked = (more: Partial<UploadOptions> = {}): UploadOptions => ({ limit: new BodyLimit(3000), ...more });
const stored = async (name = 'alice/app') =>
  new Uint8Array(
    await (await call('GET', `/v2/${name}/blobs/${await contentDigest(bytes)}`, { as: 'alice' })).arrayBuffer(),
  );
const lengths = ({ sent }: ReturnType<typeof wired>) =>
  sent.filter(({ length }) => length > 0).map(({ method, length }) => `${method} ${length}`);

test('a blob that fits into a body is sent in one', async () => {
  const { wire, repository: target } = repository();
  expect(await uploadBlob(target, await content(), { limit: BodyLimit.unknown() })).toBe('uploaded');
  expect(lengths(wire)).toEqual(['PUT 10000']);
  expect(await stored()).toEqual(bytes);
});

test('a blob over the limit is sent in chunks', async () => {
  const { wire, repository: target } = repository();
  const told: number[] = [];
  expect(await uploadBlob(target, await content(), chunked({ onBytes: (count) => told.push(count) }))).toBe('uploaded');
  expect(lengths(wire)).toEqual(['PATCH 3000', 'PATCH 3000', 'PATCH 3000', 'PATCH 1000']);
  expect(told.at(-1)).toBe(10_000);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(await stored()).toEqual(bytes);
});

test('the limit that the host states is kept', async () => {
  const { wire, repository: target } = repository(async ({ method }, pass) => {
    if (method !== 'POST') return undefined;
    const answer = await pass();
    const headers = new Headers(answer.headers);
    headers.set('OCI-Chunk-Min-Length', '1000');
    headers.set('OCI-Chunk-Max-Length', '4000');
    return new Response(null, { status: answer.status, headers });
  });
  await uploadBlob(target, await content(), { limit: BodyLimit.unknown() });
  expect(lengths(wire)).toEqual(['PATCH 4000', 'PATCH 4000', 'PATCH 2000']);
});

test('a blob that the registry has is not sent', async () => {
  await putBlob('alice/app', bytes);
  const { wire, repository: target } = repository();
  expect(await uploadBlob(target, await content(), chunked())).toBe('exists');
  expect(wire.calls().map((line) => line.split(' ')[0])).toEqual(['HEAD', 'HEAD']);
});

test('a blob of another repository is mounted', async () => {
  await putBlob('alice/base', bytes);
  const { wire, repository: target } = repository();
  expect(await uploadBlob(target, await content(), chunked({ mountFrom: 'alice/base' }))).toBe('mounted');
  expect(lengths(wire)).toEqual([]);
  expect(await stored()).toEqual(bytes);
});

test('nothing is mounted from a repository that cannot be read', async () => {
  const { repository: target } = repository();
  expect(await uploadBlob(target, await content(), chunked({ mountFrom: 'bob/secret' }))).toBe('uploaded');
});

test('a broken chunk continues where the registry says', async () => {
  let isBroken = false;
  const { wire, repository: target } = repository(({ method, headers }, pass) => {
    if (isBroken || method !== 'PATCH' || headers['content-range'] !== '3000-5999') return undefined;
    isBroken = true;
    return pass(1200);
  });
  await uploadBlob(target, await content(), chunked());
  expect(isBroken).toBe(true);
  expect(await stored()).toEqual(bytes);
  expect(wire.sent.filter(({ method }) => method === 'GET').length).toBeGreaterThan(0);
});

test('a push continues the upload that another has left', async () => {
  const records = new Records();
  const cut = repository(({ method, headers }) => {
    if (method === 'PATCH' && headers['content-range'] === '6000-8999') throw new TransportError('gone');
    return undefined;
  });
  await expect(uploadBlob(cut.repository, await content(), chunked({ records }))).rejects.toThrow('gone');
  expect(records.size).toBe(1);
  const second = repository();
  expect(await uploadBlob(second.repository, await content(), chunked({ records }))).toBe('uploaded');
  expect(lengths(second.wire)).toEqual(['PATCH 3000', 'PATCH 1000']);
  expect(records.size).toBe(0);
  expect(await stored()).toEqual(bytes);
});

/** Leaves an upload of the blob of which the registry has 3000 bytes. */
async function leftUpload(): Promise<Records> {
  const records = new Records();
  const { repository: target } = repository(({ method, headers }) => {
    if (method === 'PATCH' && headers['content-range'] === '3000-5999') throw new TransportError('gone');
    return undefined;
  });
  await uploadBlob(target, await content(), chunked({ records })).catch(() => undefined);
  return records;
}

/** Makes the answers to a method state how long a chunk may be. */
const saying =
  (limited: string, most: number): Interference =>
  async ({ method, url }, pass) => {
    if (method !== limited || !url.pathname.includes('/uploads/')) return undefined;
    const { status, headers: given } = await pass();
    const headers = new Headers(given);
    headers.set('OCI-Chunk-Min-Length', '1000');
    headers.set('OCI-Chunk-Max-Length', String(most));
    return new Response(null, { status, headers });
  };

test('a continued push keeps the limit that the host states when asked for its progress', async () => {
  const records = await leftUpload();
  const { wire, repository: target } = repository(saying('GET', 4000));
  await uploadBlob(target, await content(), { limit: BodyLimit.unknown(), records });
  expect(lengths(wire)).toEqual(['PATCH 4000', 'PATCH 3000']);
});

test('a continued push assumes a limit if the host states none', async () => {
  const records = await leftUpload();
  const limit = BodyLimit.unknown();
  const { repository: target } = repository(async ({ method, url }, pass) => {
    if (method !== 'GET' || !url.pathname.includes('/uploads/')) return undefined;
    const { status, headers: given } = await pass();
    const headers = new Headers(given);
    headers.delete('OCI-Chunk-Max-Length');
    return new Response(null, { status, headers });
  });
  await uploadBlob(target, await content(), { limit, records });
  expect(limit.bytes).toBe(64 * 1024 ** 2);
});

test('the limit that the host states in answer to a chunk counts for the next', async () => {
  const { wire, repository: target } = repository(saying('PATCH', 2000));
  await uploadBlob(target, await content(), chunked());
  expect(lengths(wire)).toEqual(['PATCH 3000', 'PATCH 2000', 'PATCH 2000', 'PATCH 2000', 'PATCH 1000']);
});

test('two pushes that write into one upload both end with the blob', async () => {
  let other: Promise<string> | undefined;
  const records = new Records();
  const { wire, repository: target } = repository(async ({ method, headers }) => {
    if (method !== 'PATCH' || headers['content-range'] !== '3000-5999' || other !== undefined) return undefined;
    // The other one goes on with this upload, and sends the same chunk first.
    other = uploadBlob(
      repository(({ headers: sent }) => {
        if (sent['content-range'] === '6000-8999') throw new TransportError('gone');
        return undefined;
      }).repository,
      await content(),
      chunked({ records }),
    );
    await other.catch(() => undefined);
    return undefined;
  });
  expect(await uploadBlob(target, await content(), chunked({ records }))).toBe('uploaded');
  await expect(other).rejects.toThrow('gone');
  expect(wire.sent.filter(({ method }) => method === 'POST')).toHaveLength(2);
  expect(await stored()).toEqual(bytes);
});

test('an upload that another push has closed is not begun again', async () => {
  let isClosed = false;
  const { wire, repository: target } = repository(async ({ method, headers, url }) => {
    if (isClosed || method !== 'PATCH' || headers['content-range'] !== '6000-8999') return undefined;
    isClosed = true;
    await call('DELETE', url.href, { as: 'alice' });
    await putBlob('alice/app', bytes);
    return undefined;
  });
  expect(await uploadBlob(target, await content(), chunked())).toBe('exists');
  expect(wire.sent.filter(({ method }) => method === 'POST')).toHaveLength(1);
});

test('an upload that the registry has forgotten is begun again', async () => {
  const records = new Records();
  const { repository: target } = repository();
  await uploadBlob(
    repository(({ method }) => {
      if (method === 'PATCH') throw new TransportError('gone');
      return undefined;
    }).repository,
    await content(),
    chunked({ records }),
  ).catch(() => undefined);
  const [[, location] = ['', '']] = records;
  expect((await call('DELETE', location, { as: 'alice' })).status).toBe(204);
  expect(await uploadBlob(target, await content(), chunked({ records }))).toBe('uploaded');
  expect(await stored()).toEqual(bytes);
});

test('bytes that do not match the digest are refused, and leave nothing to continue', async () => {
  const records = new Records();
  const { repository: target } = repository();
  const wrong = { ...(await content(bytesOf(2, 10_000))), digest: await contentDigest(bytes) };
  await expect(uploadBlob(target, wrong, chunked({ records }))).rejects.toMatchObject({ code: 'DIGEST_INVALID' });
  expect(records.size).toBe(0);
});

test('a login that fails in the middle of an upload is tried again', async () => {
  let [isRevoked, refusals] = [false, 0];
  const { repository: target } = repository(({ method, url, headers }) => {
    if (method === 'PATCH' && headers['content-range'] === '3000-5999' && !isRevoked) {
      isRevoked = true;
      return new Response(null, { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="/token"' } });
    }
    if (url.pathname !== '/token' || !isRevoked || refusals > 0) return undefined;
    refusals += 1;
    return new Response(null, { status: 503 });
  });
  expect(await uploadBlob(target, await content(), chunked())).toBe('uploaded');
  expect([isRevoked, refusals]).toEqual([true, 1]);
  expect(await stored()).toEqual(bytes);
});

test('a session that is lost between chunks is begun again', async () => {
  let isLost = false;
  const { wire, repository: target } = repository(async ({ method, headers, url }) => {
    if (isLost || method !== 'PATCH' || headers['content-range'] !== '6000-8999') return undefined;
    isLost = true;
    await call('DELETE', url.href, { as: 'alice' });
    return undefined;
  });
  expect(await uploadBlob(target, await content(), chunked())).toBe('uploaded');
  expect(wire.sent.filter(({ method }) => method === 'POST')).toHaveLength(2);
  expect(await stored()).toEqual(bytes);
});

async function read(interfere?: Interference, start = 0, end = bytes.byteLength): Promise<Uint8Array> {
  const digest = await putBlob('alice/app', bytes);
  const source = contentOf(repository(interfere).repository, { digest, size: bytes.byteLength });
  return new Uint8Array(await new Response(source.open(start, end)).arrayBuffer());
}

test('a blob is read, whole or in part', async () => {
  expect(await read()).toEqual(bytes);
  expect(await read(undefined, 200, 9000)).toEqual(bytes.slice(200, 9000));
});

const brokenAfter = (answer: Response, count: number): Response => {
  let isOver = false;
  const body = new ReadableStream(
    {
      async pull(controller) {
        if (isOver) return controller.error(new Error('broken'));
        isOver = true;
        controller.enqueue(new Uint8Array(await answer.arrayBuffer()).slice(0, count));
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { status: answer.status, headers: answer.headers });
};

test.each(['breaks', 'ends early'])('a download that %s goes on where it stopped', async (how) => {
  const ranges: (string | undefined)[] = [];
  const whole = await read(async ({ method, url, headers }, pass) => {
    if (method !== 'GET' || !url.pathname.includes('/blobs/')) return undefined;
    const answer = await pass();
    if (answer.status === 401) return answer;
    ranges.push(headers['range']);
    if (ranges.length > 2) return answer;
    if (how === 'breaks') return brokenAfter(answer, 4000);
    const { status, headers: given } = answer;
    return new Response(new Uint8Array(await answer.arrayBuffer()).slice(0, 4000), {
      status,
      headers: { 'Content-Range': given.get('Content-Range') ?? '' },
    });
  });
  expect(ranges).toEqual([undefined, 'bytes=4000-9999', 'bytes=8000-9999']);
  expect(whole).toEqual(bytes);
});

test('a registry that ignores ranges is read from the start again', async () => {
  let answers = 0;
  const whole = await read(async ({ method, url, headers }) => {
    if (method !== 'GET' || !url.pathname.includes('/blobs/') || headers['authorization'] === undefined)
      return undefined;
    answers += 1;
    return answers === 1 ? brokenAfter(new Response(bytes), 4000) : new Response(bytes);
  });
  expect(answers).toBe(2);
  expect(whole).toEqual(bytes);
});
