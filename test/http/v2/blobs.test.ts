import { beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { addUsers, call, codeOf, errorsOf } from '../../support/client.ts';
import { putBlob, putImage } from '../../support/content.ts';
import { bytesOf, snapshotWithoutUse } from '../../support/fixture.ts';
import { workerConfigured } from '../../support/worker-with.ts';

beforeEach(addUsers);

const SESSIONS = '/v2/alice/app/blobs/uploads/';
const as = 'alice';

async function open(): Promise<string> {
  return (await call('POST', SESSIONS, { as })).headers.get('Location') ?? '';
}

async function patch(location: string, content: Uint8Array<ArrayBuffer>, range?: string): Promise<Response> {
  return call('PATCH', location, { as, body: content, headers: range === undefined ? {} : { 'Content-Range': range } });
}

describe('GET and HEAD of a blob', () => {
  const content = bytesOf(1, 1000);

  test('carry length, type, digest and ETag', async () => {
    const digest = await putBlob('alice/app', content);
    for (const method of ['GET', 'HEAD']) {
      const response = await call(method, `/v2/alice/app/blobs/${digest}`, { as });
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-length': '1000',
        'content-type': 'application/octet-stream',
        'accept-ranges': 'bytes',
        'docker-content-digest': digest,
        etag: `"${digest}"`,
        'cache-control': 'no-transform',
      });
      expect((await response.arrayBuffer()).byteLength).toBe(method === 'GET' ? 1000 : 0);
    }
  });

  test.each([
    ['bytes=0-0', 0, 1],
    ['bytes=10-19', 10, 20],
    ['bytes=990-', 990, 1000],
    ['bytes=990-5000', 990, 1000],
    ['bytes=500-9223372036854775807', 500, 1000],
    ['bytes=-9223372036854775807', 0, 1000],
    ['bytes=-1', 999, 1000],
    ['bytes=-5000', 0, 1000],
  ])('Range %s', async (range, start, end) => {
    const digest = await putBlob('alice/app', content);
    const response = await call('GET', `/v2/alice/app/blobs/${digest}`, { as, headers: { Range: range } });
    expect(response.status).toBe(206);
    expect(response.headers.get('Content-Range')).toBe(`bytes ${start}-${end - 1}/1000`);
    expect(response.headers.get('Content-Length')).toBe(String(end - start));
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(content.slice(start, end));
  });

  test.each(['bytes=500-0', 'bytes=1000-', 'bytes=-0'])('Range %s is 416', async (range) => {
    const digest = await putBlob('alice/app', content);
    const response = await call('GET', `/v2/alice/app/blobs/${digest}`, { as, headers: { Range: range } });
    expect(response.status).toBe(416);
    expect(response.headers.get('Content-Range')).toBe('bytes */1000');
  });

  test.each(['bytes=0-1,5-6', 'lines=1-2', 'bytes=x-y'])('Range %s is ignored', async (range) => {
    const digest = await putBlob('alice/app', content);
    const response = await call('GET', `/v2/alice/app/blobs/${digest}`, { as, headers: { Range: range } });
    expect([response.status, (await response.arrayBuffer()).byteLength]).toEqual([200, 1000]);
  });

  test('answer conditional requests by If-None-Match and If-Range', async () => {
    const digest = await putBlob('alice/app', content);
    const get = (headers: Record<string, string>) => call('GET', `/v2/alice/app/blobs/${digest}`, { as, headers });
    expect((await get({ Range: 'bytes=0-1', 'If-Range': digest })).status).toBe(206);
    expect((await get({ 'If-None-Match': `"other", W/"${digest}"` })).status).toBe(304);
    expect((await get({ 'If-None-Match': '"other"' })).status).toBe(200);
    expect((await get({ Range: 'bytes=0-1', 'If-Range': `"${digest}"` })).status).toBe(206);
    expect((await get({ Range: 'bytes=0-1', 'If-Range': '"other"' })).status).toBe(200);
  });

  test('serve the empty blob', async () => {
    const digest = await putBlob('alice/app', new Uint8Array(0));
    const response = await call('GET', `/v2/alice/app/blobs/${digest}`, { as });
    expect([response.status, response.headers.get('Content-Length'), await response.text()]).toEqual([200, '0', '']);
  });

  test('answer an unknown digest with BLOB_UNKNOWN, and a malformed one with DIGEST_INVALID', async () => {
    const absent = await digestOf('sha256', bytesOf(5, 5));
    const response = await call('GET', `/v2/alice/app/blobs/${absent}`, { as });
    expect([response.status, await codeOf(response)]).toEqual([404, 'BLOB_UNKNOWN']);
    for (const malformed of ['sha256:abc', 'md5:', 'latest', `sha256:${'A'.repeat(64)}`]) {
      const bad = await call('GET', `/v2/alice/app/blobs/${malformed}`, { as });
      expect([bad.status, await codeOf(bad)]).toEqual([400, 'DIGEST_INVALID']);
    }
  });
});

describe('uploads', () => {
  test('docker: POST, one PATCH without length, empty PUT', async () => {
    const content = bytesOf(1, 5000);
    const digest = await digestOf('sha256', content);
    const started = await call('POST', SESSIONS, { as });
    expect(started.status).toBe(202);
    expect(started.headers.get('Range')).toBe('0-0');
    expect(started.headers.get('Location')).toMatch(/^\/v2\/alice\/app\/blobs\/uploads\/[^/]+$/);
    const id = started.headers.get('Docker-Upload-UUID');
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    const streamed = new Response(content).body!.pipeThrough(new IdentityTransformStream());
    const patched = await call('PATCH', started.headers.get('Location') ?? '', { as, body: streamed });
    expect([patched.status, patched.headers.get('Range'), patched.headers.get('Docker-Upload-UUID')]).toEqual([
      202,
      '0-4999',
      id,
    ]);
    const finished = await call('PUT', `${patched.headers.get('Location')}?digest=${digest}`, { as });
    expect([finished.status, finished.headers.get('Location')]).toEqual([201, `/v2/alice/app/blobs/${digest}`]);
    expect(finished.headers.get('Docker-Content-Digest')).toBe(digest);
  });

  test('every answer about an open upload states the longest body, as configured', async () => {
    const most = (response: Response) => response.headers.get('OCI-Chunk-Max-Length');
    const opened = await call('POST', SESSIONS, { as });
    const patched = await patch(opened.headers.get('Location') ?? '', bytesOf(1, 5));
    const resumed = await call('GET', patched.headers.get('Location') ?? '', { as });
    expect([opened, patched, resumed].map(most)).toEqual(['67108864', '67108864', '67108864']);
    const fetcher = workerConfigured({ chunk_max_mib: 90 });
    expect(most(await call('POST', SESSIONS, { as, fetcher }))).toBe('94371840');
  });

  test('every answer about an open upload states the minimum chunk length; shorter chunks are accepted', async () => {
    const content = bytesOf(1, 15);
    const digest = await digestOf('sha256', content);
    const minimum = (response: Response) => response.headers.get('OCI-Chunk-Min-Length');
    for (const query of ['', '?digest-algorithm=sha256', `?mount=${digest}`, `?mount=${digest}&from=alice/none`]) {
      const opened = await call('POST', `${SESSIONS}${query}`, { as });
      expect([query, opened.status, minimum(opened)]).toEqual([query, 202, '8388608']);
    }
    const first = await patch(await open(), content.slice(0, 5), '0-4');
    const second = await patch(first.headers.get('Location') ?? '', content.slice(5), '5-14');
    const resumed = await call('GET', second.headers.get('Location') ?? '', { as });
    const finished = await call('PUT', `${second.headers.get('Location')}?digest=${digest}`, { as });
    const whole = await call('POST', `${SESSIONS}?digest=${digest}`, { as, body: content });
    const mounted = await call('POST', `/v2/alice/other/blobs/uploads/?mount=${digest}`, { as });
    const answers = [first, second, resumed, finished, whole, mounted];
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 204, 201, 201, 201]);
    expect(answers.map(minimum)).toEqual(['8388608', '8388608', '8388608', null, null, null]);
    const stored = await call('GET', `/v2/alice/app/blobs/${digest}`, { as });
    expect(new Uint8Array(await stored.arrayBuffer())).toEqual(content);
  });

  test('a chunk out of order is 416 with where to continue, and GET says the same', async () => {
    const location = (await patch(await open(), bytesOf(1, 10), '0-9')).headers.get('Location') ?? '';
    const refused = await patch(location, bytesOf(2, 10), '20-29');
    expect([refused.status, refused.headers.get('Range'), await codeOf(refused)]).toEqual([
      416,
      '0-9',
      'BLOB_UPLOAD_INVALID',
    ]);
    const asked = await call('GET', `${refused.headers.get('Location')}?digest=sha256:x`, { as });
    expect([asked.status, asked.headers.get('Range')]).toEqual([204, '0-9']);
    expect((await patch(asked.headers.get('Location') ?? '', bytesOf(2, 10), '10-19')).status).toBe(202);
  });

  test('POST with digest-algorithm opens a session', async () => {
    const opened = await call('POST', `${SESSIONS}?digest-algorithm=sha512`, { as });
    expect(opened.status).toBe(202);
    const content = bytesOf(1, 10);
    const patched = await patch(opened.headers.get('Location') ?? '', content);
    const digest = await digestOf('sha512', content);
    expect((await call('PUT', `${patched.headers.get('Location')}?digest=${digest}`, { as })).status).toBe(201);
    expect((await call('HEAD', `/v2/alice/app/blobs/${digest}`, { as })).status).toBe(200);
  });

  test('a stale URL is 416 for a chunk, and 204 with the current range for GET; DELETE is 204, then 404', async () => {
    const stale = await open();
    const current = (await patch(stale, bytesOf(1, 10))).headers.get('Location') ?? '';
    expect((await patch(stale, bytesOf(2, 10))).status).toBe(416);
    const asked = await call('GET', stale, { as });
    expect([asked.status, asked.headers.get('Range')]).toEqual([204, '0-9']);
    const remove = async () => (await call('DELETE', current, { as })).status;
    expect([await remove(), await remove(), (await call('GET', stale, { as })).status]).toEqual([204, 404, 404]);
  });

  test('a stale URL is 416 for the last chunk in a PUT and for an empty chunk; it is 404 once the upload is finished', async () => {
    const stale = await open();
    const current = (await patch(stale, bytesOf(1, 10))).headers.get('Location') ?? '';
    const whole = bytesOf(1, 20);
    const [digest, part] = [await digestOf('sha256', whole), await digestOf('sha256', bytesOf(1, 10))];
    const nothing = () => new Response('').body!.pipeThrough(new IdentityTransformStream());
    const refused = await call('PUT', `${stale}?digest=${digest}`, { as, body: whole.slice(10) });
    expect([refused.status, refused.headers.get('Range'), await codeOf(refused)]).toEqual([
      416,
      '0-9',
      'BLOB_UPLOAD_INVALID',
    ]);
    const chunk = await call('PATCH', stale, { as, body: nothing() });
    expect([chunk.status, chunk.headers.get('Range'), await codeOf(chunk)]).toEqual([
      416,
      '0-9',
      'BLOB_UPLOAD_INVALID',
    ]);
    expect((await call('PATCH', current, { as, body: nothing() })).status).toBe(202);
    expect((await call('PUT', `${current}?digest=${part}`, { as })).status).toBe(201);
    const late = await call('PATCH', stale, { as, body: nothing() });
    expect([late.status, await codeOf(late)]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
  });

  test('a mount is 201 with the exact Location, or 202 and the client uploads', async () => {
    const digest = await putBlob('alice/base', bytesOf(1, 100));
    const mounted = await call('POST', `${SESSIONS}?mount=${digest}&from=alice/base`, { as });
    expect([mounted.status, mounted.headers.get('Location')]).toEqual([201, `/v2/alice/app/blobs/${digest}`]);
    for (const [from, user, repository] of [
      ['alice/base', 'bob', 'bob/app'],
      ['alice/none', 'alice', 'alice/third'],
      ['not a name', 'alice', 'alice/third'],
    ] as const) {
      const query = new URLSearchParams({ mount: digest, from });
      const refused = await call('POST', `/v2/${repository}/blobs/uploads/?${query.toString()}`, { as: user });
      expect([refused.status, refused.headers.get('Location')?.startsWith(`/v2/${repository}/blobs/uploads/`)]).toEqual(
        [202, true],
      );
    }
    expect((await call('POST', `/v2/alice/fourth/blobs/uploads/?mount=${digest}`, { as })).status).toBe(201);
    expect((await call('POST', `/v2/bob/fourth/blobs/uploads/?mount=${digest}`, { as: 'bob' })).status).toBe(202);
  });

  test('the credential, not the scopes of its token, decides about a mount', async () => {
    const { tokenFor } = await import('../../support/client.ts');
    const digest = await putBlob('alice/base', bytesOf(1, 100));
    const target = await tokenFor('alice', 'repository:alice/app:pull,push');
    expect((await call('POST', `${SESSIONS}?mount=${digest}&from=alice/base`, { as: target })).status).toBe(201);
  });

  test('any logged-in organization may mount official images', async () => {
    const digest = await putBlob('official/base', bytesOf(1, 100), { as: 'official' });
    expect((await call('POST', `${SESSIONS}?mount=${digest}&from=official/base`, { as })).status).toBe(201);
  });

  test('another caller’s session is 404 for every verb', async () => {
    const location = await open();
    const foreign = location.replace('/alice/app/', '/bob/app/');
    for (const [path, user] of [
      [foreign, 'bob'],
      [location, 'aliceApp'],
      [location.replace(/\.[^.]*$/, '.AAAA'), 'alice'],
    ] as const) {
      for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
        const query = method === 'PUT' ? `?digest=${await digestOf('sha256', bytesOf(1, 1))}` : '';
        const body = method === 'PATCH' || method === 'PUT' ? bytesOf(1, 1) : null;
        const response = await call(method, `${path}${query}`, { as: user, body });
        expect([method, response.status, await codeOf(response)]).toEqual([method, 404, 'BLOB_UPLOAD_UNKNOWN']);
      }
    }
  });

  test('invariant 7: bad input gets its error and changes nothing', async () => {
    const location = (await patch(await open(), bytesOf(1, 10))).headers.get('Location') ?? '';
    const before = await snapshotWithoutUse();
    const wrong = await digestOf('sha256', bytesOf(8, 8));
    const cases: [string, string, Record<string, string>, number, string][] = [
      ['POST', `${SESSIONS}?digest=sha256:abc`, {}, 400, 'DIGEST_INVALID'],
      ['POST', `${SESSIONS}?digest=${wrong}`, {}, 400, 'DIGEST_INVALID'],
      ['POST', `${SESSIONS}?mount=latest`, {}, 400, 'DIGEST_INVALID'],
      ['POST', `${SESSIONS}?digest-algorithm=md5`, {}, 400, 'DIGEST_INVALID'],
      ['POST', '/v2/Alice/App/blobs/uploads/', {}, 400, 'NAME_INVALID'],
      ['POST', '/v2/app/blobs/uploads/', {}, 403, 'DENIED'],
      ['POST', `/v2/alice/${'a'.repeat(260)}/blobs/uploads/`, {}, 403, 'DENIED'],
      ['PATCH', location, { 'Content-Range': 'nonsense' }, 400, 'SIZE_INVALID'],
      ['PATCH', location, { 'Content-Range': '10-9999' }, 400, 'SIZE_INVALID'],
      ['PATCH', location, { 'Content-Range': '20-24' }, 416, 'BLOB_UPLOAD_INVALID'],
      ['PUT', location, {}, 400, 'DIGEST_INVALID'],
      ['PUT', `${location}?digest=nonsense`, {}, 400, 'DIGEST_INVALID'],
      ['PUT', `${location}?digest=${wrong}`, {}, 400, 'DIGEST_INVALID'],
    ];
    for (const [method, path, headers, status, code] of cases) {
      const response = await call(method, path, { as, headers, body: bytesOf(3, 5) });
      expect([method, path, response.status, await codeOf(response)]).toEqual([method, path, status, code]);
    }
    expect(await snapshotWithoutUse()).toBe(before);
  });
});

describe('DELETE of a blob', () => {
  test('is 202, then 404; 405 while a manifest references it, and the error names that manifest', async () => {
    const image = await putImage('alice/app', 1, ['latest']);
    const path = `/v2/alice/app/blobs/${image.manifest.requiredBlobs[0]}`;
    const refused = await call('DELETE', path, { as });
    expect(refused.status).toBe(405);
    expect(await errorsOf(refused)).toMatchObject([{ code: 'UNSUPPORTED', detail: { manifest: image.digest } }]);
    await call('DELETE', `/v2/alice/app/manifests/${image.digest}`, { as });
    expect([(await call('DELETE', path, { as })).status, (await call('DELETE', path, { as })).status]).toEqual([
      202, 404,
    ]);
  });
});
