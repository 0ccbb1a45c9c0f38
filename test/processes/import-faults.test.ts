/** Imports from registries that misbehave: each ends with what docs/import.md says. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { serverForFile } from '../support/local/server-for-file.ts';
import { type Importing, importsAt } from '../support/local/imports.ts';
import { json, MemoryUpstream, type Misbehaviour } from '../support/local/upstream.ts';
import { secrets } from '../support/local/logged-secrets.ts';

const server = serverForFile();
let upstream: MemoryUpstream;
let imports: Importing;
beforeAll(async () => {
  upstream = await MemoryUpstream.start();
  imports = importsAt(() => server.current.url);
});
afterEach(() => {
  upstream.misbehaves = () => false;
});
afterAll(() => upstream.stop());

/** Imports one image, of a repository of its own, from an upstream that misbehaves. */
async function importOne(name: string, misbehaves: Misbehaviour, fields: object = {}, sizes = [100_000]) {
  const image = upstream.image(name, ['1'], sizes);
  upstream.misbehaves = misbehaves;
  upstream.requests.length = 0;
  const report = await imports.run({ from: upstream.url, repositories: [name], tags: ['1'], ...fields });
  return { image, report };
}

const skippedWith = (reason: string) => ({
  state: 'done',
  skipped: 1,
  report: [{ reason: expect.stringContaining(reason) as string }],
});

/** Sends the first bytes of a layer, and breaks the connection. */
const breaks: Misbehaviour = ({ url = '', headers, method }, response) => {
  if (method !== 'GET' || !url.includes('/blobs/') || headers.range !== undefined) return false;
  const content = upstream.content(url.split('/').at(-1) ?? '');
  response.writeHead(200, { 'Content-Length': content.byteLength });
  response.write(content.subarray(0, 80), () => response.destroy());
  return true;
};

test('after a connection drops, the copy goes on at the byte where it stopped', async () => {
  const { report } = await importOne('drops', breaks);
  expect(report).toMatchObject({ state: 'done', skipped: 0, blobs: { copied: 2 } });
});

test('a registry that ignores ranges is read from its start, and nothing is written twice', async () => {
  const { report } = await importOne('no-range', ({ url = '', method }, response) => {
    if (method !== 'GET' || !url.includes('/blobs/')) return false;
    const content = upstream.content(url.split('/').at(-1) ?? '');
    const isFirst = upstream.requests.filter((each) => each.endsWith(url)).length === 1;
    response.writeHead(200, { 'Content-Length': content.byteLength });
    if (isFirst) response.write(content.subarray(0, 80), () => response.destroy());
    else response.end(content);
    return true;
  });
  expect(report).toMatchObject({ state: 'done', skipped: 0, blobs: { copied: 2 } });
});

test('a layer with another digest is skipped, and the import goes on', async () => {
  upstream.image('digest', ['2'], [2000]);
  const wrong: Misbehaviour = ({ url = '' }, response) => {
    if (!url.includes('/blobs/') || upstream.content(url.split('/').at(-1) ?? '').byteLength !== 100_000) return false;
    response.end(randomBytes(100_000));
    return true;
  };
  const { report } = await importOne('digest', wrong, { tags: ['*'] });
  expect(report).toMatchObject({
    ...skippedWith('the upstream sent other bytes than those of sha256:'),
    tags: { done: 2, total: 2 },
  });
});

test('a manifest with another digest is skipped', async () => {
  const { report } = await importOne('manifest', ({ url = '', method }, response) => {
    if (method !== 'GET' || !url.includes('/manifests/')) return false;
    json(response, { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] });
    return true;
  });
  expect(report).toMatchObject(skippedWith('have the digest'));
});

test('after a 429, the import waits for as long as the registry asks', async () => {
  let refused = 0;
  let at = 0;
  const { report } = await importOne('limited', ({ url = '', method }, response) => {
    if (method !== 'HEAD' || !url.includes('/manifests/') || refused > 0) return false;
    refused += 1;
    at = Date.now();
    response.writeHead(429, { 'Retry-After': '12' });
    response.end();
    return true;
  });
  expect(report).toMatchObject({ state: 'done', skipped: 0 });
  expect(Date.now() - at).toBeGreaterThanOrEqual(12_000);
  expect(upstream.requests.filter((each) => each.startsWith('HEAD /v2/limited/manifests'))).toHaveLength(2);
});

test('a login that is never accepted is not tried without end', async () => {
  const { report } = await importOne(
    'login',
    ({ url = '' }, response) => {
      if (url.startsWith('/token')) json(response, { token: 'x' });
      else {
        response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${upstream.url}/token"` });
        response.end();
      }
      return true;
    },
    { credential: { user: 'ci', secret: 'a-secret-of-an-upstream-that-refuses' } },
  );
  expect(report).toMatchObject(skippedWith('status 401'));
  expect(upstream.requests.length).toBeLessThan(10);
});

test('a credential that the upstream sends back is not shown', async () => {
  const secret = 'an-upstream-secret-that-comes-back';
  secrets.add('the secret of an upstream', secret);
  const { report } = await importOne(
    'echo',
    ({ headers }, response) => {
      const message = `wrong: ${headers.authorization} ${secret}`;
      json(response, { errors: [{ code: 'UNAUTHORIZED', message }] }, 401, { 'WWW-Authenticate': 'Basic realm="x"' });
      return true;
    },
    { credential: { user: 'ci', secret }, tags: ['*'] },
  );
  const shown = JSON.stringify(report);
  expect(shown).toContain('wrong: Basic …');
  expect(shown).not.toContain(secret);
  expect(shown).not.toContain(Buffer.from(`ci:${secret}`).toString('base64'));
});

describe('a redirect of a layer', () => {
  test.each([
    ['the metadata service', 'http://169.254.169.254/latest/meta-data/', 'must be reached over https'],
    ['the registry itself', () => `${server.current.url}/api/organizations`, 'a host of this registry'],
  ])('to %s is not followed', async (name, location, reason) => {
    const { report } = await importOne(`redirect-${name.length}`, ({ url = '' }, response) => {
      if (!url.includes('/blobs/')) return false;
      response.writeHead(307, { Location: typeof location === 'string' ? location : location() });
      response.end();
      return true;
    });
    expect(report).toMatchObject(skippedWith(reason));
  });
});

test('HTML instead of a manifest is skipped', async () => {
  const { report } = await importOne('html', ({ url = '' }, response) => {
    if (!url.includes('/manifests/')) return false;
    response.writeHead(200, { 'Content-Type': 'text/html' });
    response.end('<html>');
    return true;
  });
  expect(report).toMatchObject(skippedWith('is not a JSON object'));
});

test('a missing catalog ends the import with an error that says what to do', async () => {
  const { report } = await importOne(
    'catalog',
    ({ url = '' }, response) => {
      if (!url.startsWith('/v2/_catalog')) return false;
      json(response, {}, 404);
      return true;
    },
    { repositories: ['cat*'] },
  );
  expect(report).toMatchObject({ state: 'failed', error: expect.stringContaining('name each of them in full') });
});
