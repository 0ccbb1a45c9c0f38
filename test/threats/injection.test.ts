import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, basic } from '../support/client.ts';
import { takePrinted } from '../support/console.ts';
import { documentOf, indexOf, utf8 } from '../support/fixture.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

const HOSTILE = [
  "' OR '1'='1",
  "'; DROP TABLE credentials; --",
  '") UNION SELECT secret_hash FROM credentials --',
  'alice/*',
  '%_%',
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  'a\r\nX-Evil: 1\r\n\r\n<html>',
  'a\nSet-Cookie: evil=1',
  '%0d%0aX-Evil:%201',
  '{"requestId":"forged","status":200}\n{"requestId":"forged"}',
  '\u0000',
  '\u2028\u2029',
  '\ud800',
  '../../etc/passwd',
  '..%2f..%2f',
  '${jndi:ldap://192.0.2.1/a}',
  '{{7*7}}',
  '__proto__',
  'constructor',
  '😀',
  'x'.repeat(3000),
];

const encode = (text: string): string => encodeURIComponent(text.toWellFormed());

/** Requests with a hostile string in one field. */
const FIELDS: readonly (readonly [
  string,
  (text: string) => { method: string; path: string; headers?: Record<string, string>; body?: string },
])[] = [
  ['the repository', (text) => ({ method: 'GET', path: `/v2/alice/${encode(text)}/manifests/latest` })],
  ['the organization', (text) => ({ method: 'GET', path: `/v2/${encode(text)}/app/tags/list` })],
  ['the tag', (text) => ({ method: 'GET', path: `/v2/alice/app/manifests/${encode(text)}` })],
  [
    'the tag that is pushed',
    (text) => ({ method: 'PUT', path: `/v2/alice/app/manifests/${encode(text)}`, body: '{}' }),
  ],
  ['the tag that is deleted', (text) => ({ method: 'DELETE', path: `/v2/alice/app/manifests/${encode(text)}` })],
  ['the digest', (text) => ({ method: 'GET', path: `/v2/alice/app/blobs/sha256:${encode(text)}` })],
  ['the subject', (text) => ({ method: 'GET', path: `/v2/alice/app/referrers/${encode(text)}` })],
  [
    'the filter of referrers',
    (text) => ({
      method: 'GET',
      path: `/v2/alice/app/referrers/sha256:${'0'.repeat(64)}?artifactType=${encode(text)}&last=${encode(text)}`,
    }),
  ],
  ['the position in a list', (text) => ({ method: 'GET', path: `/v2/alice/app/tags/list?n=1&last=${encode(text)}` })],
  ['the size of a page', (text) => ({ method: 'GET', path: `/v2/_catalog?n=${encode(text)}` })],
  ['the position in the catalog', (text) => ({ method: 'GET', path: `/v2/_catalog?last=${encode(text)}` })],
  [
    'the blob to mount',
    (text) => ({ method: 'POST', path: `/v2/alice/app/blobs/uploads/?mount=${encode(text)}&from=bob/app` }),
  ],
  [
    'the digest of an upload',
    (text) => ({ method: 'POST', path: `/v2/alice/app/blobs/uploads/?digest=${encode(text)}` }),
  ],
  [
    'the algorithm of an upload',
    (text) => ({ method: 'POST', path: `/v2/alice/app/blobs/uploads/?digest-algorithm=${encode(text)}` }),
  ],
  ['the session', (text) => ({ method: 'GET', path: `/v2/alice/app/blobs/uploads/${encode(text)}` })],
  [
    'the media type',
    (text) => ({
      method: 'PUT',
      path: '/v2/alice/app/manifests/x',
      headers: { 'Content-Type': header(text) },
      body: '{}',
    }),
  ],
  [
    'the range',
    (text) => ({
      method: 'GET',
      path: `/v2/alice/app/blobs/sha256:${'0'.repeat(64)}`,
      headers: { Range: header(text), 'If-Range': header(text), 'If-None-Match': header(text) },
    }),
  ],
  [
    'the client’s own headers',
    (text) => ({
      method: 'GET',
      path: '/v2/alice/typo/tags/list',
      headers: { 'User-Agent': header(text), 'cf-ray': header(text), 'X-Forwarded-For': header(text) },
    }),
  ],
  ['the path', (text) => ({ method: 'GET', path: `/${encode(text)}` })],
  ['an organization to manage', (text) => ({ method: 'GET', path: `/api/organizations/${encode(text)}/usage` })],
  [
    'a repository to manage',
    (text) => ({ method: 'DELETE', path: `/api/organizations/alice/repositories/${encode(text)}` }),
  ],
  [
    'a credential to remove',
    (text) => ({ method: 'DELETE', path: `/api/organizations/alice/credentials/${encode(text)}` }),
  ],
  [
    'the position in a list of the API',
    (text) => ({ method: 'GET', path: `/api/organizations/alice/credentials?last=${encode(text)}` }),
  ],
  [
    'a new repository',
    (text) => ({ method: 'POST', path: '/api/organizations/alice/repositories', ...json({ name: text }) }),
  ],
  [
    'a new credential',
    (text) => ({
      method: 'POST',
      path: '/api/organizations/alice/credentials',
      ...json({ name: text, rights: ['pull'] }),
    }),
  ],
  [
    'the rights of a credential',
    (text) => ({
      method: 'POST',
      path: '/api/organizations/alice/credentials',
      ...json({ name: 'x', rights: [text] }),
    }),
  ],
  [
    'the pattern of a credential',
    (text) => ({
      method: 'POST',
      path: '/api/organizations/alice/credentials',
      ...json({ name: 'x', rights: ['pull'], repositories: [`alice/${text}`.replace('alice/alice/', 'bob/')] }),
    }),
  ],
];

/** Returns the part of a text that a header can hold. */
const header = (text: string): string => text.replaceAll(/[^ -~]/g, '').trim() || 'x';
const json = (body: object) => ({ headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

describe.each(HOSTS_AND_NODES)('hostile text injects no SQL, header, log line or HTML at $name', (host) => {
  test.each(FIELDS)('in %s', async (_field, requestOf) => {
    await host.call('GET', '/v2/', { as: 'alice' });
    const before = await host.snapshotWithoutUse();
    takePrinted();
    for (const text of HOSTILE) {
      const { method, path, headers = {}, body = null } = requestOf(text);
      // Some strings are strange, but valid names of something new.
      if (/^\w+$/.test(text) && ['PUT', 'POST'].includes(method)) continue;
      const response = await host.call(method, path, { as: 'alice', headers, body });
      const answer = await response.text();
      expect([text, response.status < 500]).toEqual([text, true]);
      for (const name of ['X-Evil', 'Set-Cookie'])
        expect([text, name, response.headers.get(name)]).toEqual([text, name, null]);
      expect([text, response.headers.get('Content-Type') ?? 'application/json']).toEqual([
        text,
        expect.stringMatching(/^application\//),
      ]);
      if (answer !== '') JSON.parse(answer);
      const lines = takePrinted().split('\n');
      expect([text, lines.length]).toEqual([text, 1]);
      expect(JSON.parse(lines[0] ?? '')).toMatchObject({
        method,
        status: response.status,
        requestId: response.headers.get('X-Request-Id'),
      });
    }
    expect(await host.snapshotWithoutUse()).toBe(before);
  });

  test('in users and passwords', async () => {
    // A node must know the users first.
    await host.call('GET', '/v2/', { as: 'alice' });
    const credentials = () => host.rowsOf('SELECT count(*) AS n FROM credentials');
    const before = await credentials();
    for (const [i, text] of HOSTILE.map((each) => each.toWellFormed()).entries()) {
      const pairs = [
        { name: text, password: 'alice-secret' },
        { name: 'alice', password: text },
      ];
      for (const { name, password } of pairs) {
        const pair = utf8(`${name}:${password}`).toBase64();
        const headers = { 'CF-Connecting-IP': `203.0.113.${i}` };
        for (const path of ['/v2/', '/token', '/api/organizations/alice']) {
          const { status } = await host.call('GET', path, { as: { authorization: `Basic ${pair}` }, headers });
          expect([text, path, status]).toEqual([text, path, 401]);
        }
      }
    }
    expect(await credentials()).toEqual(before);
    expect(
      (await host.call('GET', '/v2/', { as: { authorization: basic({ name: 'alice', password: 'alice-secret' }) } }))
        .status,
    ).toBe(200);
  });

  test('in annotations and media types: they are returned unchanged, as JSON', async () => {
    const subject = await indexOf([]);
    await host.putManifest('alice/app', 'subject', subject);
    const descriptor = {
      mediaType: subject.manifest.mediaType,
      digest: subject.digest,
      size: subject.bytes.byteLength,
    };
    for (const text of HOSTILE.map((each) => each.toWellFormed().slice(0, 200))) {
      const annotations = Object.fromEntries([[text, text]]);
      const image = await documentOf('application/vnd.oci.image.index.v1+json', {
        manifests: [],
        subject: descriptor,
        annotations,
        artifactType: text,
      });
      expect([text, (await host.putManifest('alice/app', image.digest, image)).status]).toEqual([text, 201]);
      const response = await host.call(
        'GET',
        `/v2/alice/app/referrers/${subject.digest}?artifactType=${encode(text)}`,
        {
          as: 'alice',
        },
      );
      const { manifests } = await response.json<{ manifests: { artifactType: string; annotations: object }[] }>();
      expect(manifests).toMatchObject([{ artifactType: text, digest: image.digest }]);
      expect(JSON.stringify(manifests[0]?.annotations)).toBe(JSON.stringify(annotations));
      expect(response.headers.get('X-Evil')).toBeNull();
    }
  });

  test('a manifest that claims to be a page is not one to a browser', async () => {
    const bytes = utf8('{"a":"<script>alert(1)</script>"}');
    for (const type of ['image/svg+xml', 'application/xhtml+xml']) {
      const path = `/v2/alice/app/manifests/${await digestOf('sha256', bytes)}`;
      await host.call('PUT', path, { as: 'alice', headers: { 'Content-Type': type }, body: bytes });
      const response = await host.call('GET', path, { as: 'alice' });
      expect(await response.text()).toContain('script');
      expect(response.headers.get('Content-Security-Policy')).toBe("default-src 'none'; sandbox");
      expect(response.headers.get('X-Content-Type-Options')).toBe('nosniff');
    }
    const asPage = { as: 'alice' as const, headers: { 'Content-Type': 'text/html' }, body: bytes };
    expect((await host.call('PUT', '/v2/alice/app/manifests/page', asPage)).status).toBe(400);
    const page = utf8('<html><script>alert(1)</script></html>');
    const blob = await host.call('GET', `/v2/alice/app/blobs/${await host.putBlob('alice/app', page)}`, {
      as: 'alice',
    });
    expect(blob.headers.get('Content-Type')).toBe('application/octet-stream');
    expect(blob.headers.get('X-Content-Type-Options')).toBe('nosniff');
    await blob.arrayBuffer();
  });
});
