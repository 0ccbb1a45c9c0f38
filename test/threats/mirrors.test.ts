/** Attacks through mirrors, by an upstream or by somebody who has a mirror. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers, call } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { first } from '../support/fixture.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { eventually } from '../support/queues.ts';
import { stubUpstream, UPSTREAM } from '../support/stub-upstream.ts';

const OTHER = 'https://other.example';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const CREDENTIAL = { user: 'berth', secret: 'the-secret-of-the-upstream' };

const upstream = stubUpstream();

beforeEach(addUsers);
afterEach(stopMirrors);

async function read(path: string, as: 'alice' | 'bob' = 'alice', organization = as): Promise<[number, string]> {
  const answer = await call('GET', `/v2/${organization}/app/${path}`, { as });
  // A broken stream has no bytes to show.
  return [answer.status, await answer.text().catch(() => '')];
}

async function status(path: string, as: 'alice' | 'bob' = 'alice', organization = as): Promise<number> {
  return (await read(path, as, organization))[0];
}

/** Waits until a mirror stores nothing any more, and returns the links of its repositories to blobs. */
async function linksOf(organization: 'alice' | 'bob'): Promise<unknown[]> {
  await eventually(
    async () => {
      const answer = await call('GET', `/api/organizations/${organization}/mirror/status`, { as: organization });
      return answer.json<{ waiting: number }>();
    },
    ({ waiting }) => waiting === 0,
  );
  const query = "SELECT digest FROM links WHERE repository GLOB ?1 || '/*'";
  return (await env.DB_CENTRAL.prepare(query).bind(organization).all()).results;
}

const LOCATIONS = [
  'http://169.254.169.254/latest/meta-data/',
  'https://169.254.169.254/',
  'https://[::ffff:a9fe:a9fe]/',
  'https://2852039166/',
  'https://metadata.google.internal/',
  'http://registry.localhost:8787/api/organizations',
  'https://registry.localhost:8787/v2/bob/app/manifests/latest',
  'file:///etc/passwd',
];

describe.each(LOCATIONS)('Berth sends nothing to %s', (location) => {
  const elsewhere = (): string[] => upstream.requests.filter((each) => each.includes('://'));

  test.each(['manifests', 'blobs'])('if the upstream redirects its %s there', async (kind) => {
    await becomeMirror('alice', { credential: CREDENTIAL });
    const image = await upstream.image('app', 'v1');
    const blob = await upstream.blob('layer of v1');
    upstream.answers = ({ url }) =>
      url.includes(`/${kind}/`) ? new Response(null, { status: 307, headers: { Location: location } }) : undefined;
    for (const path of ['manifests/v1', `manifests/${image.digest}`, `blobs/${blob.digest}`]) {
      const answer = await status(path);
      if (path.startsWith(kind)) expect([path, answer]).toEqual([path, 503]);
    }
    expect(elsewhere()).toEqual([]);
  });

  test('if it is named as the token service', async () => {
    for (const credential of [undefined, CREDENTIAL]) {
      await becomeMirror('alice', { credential });
      upstream.answers = () =>
        new Response(null, { status: 401, headers: { 'WWW-Authenticate': `Bearer realm="${location}",service="x"` } });
      expect(await status('manifests/v1')).toBeGreaterThanOrEqual(400);
    }
    expect(elsewhere()).toEqual([]);
  });

  test('if lists link to it', async () => {
    await becomeMirror('alice', { credential: CREDENTIAL });
    const { digest } = await upstream.image('app', 'v1');
    upstream.answers = ({ url }) => {
      const headers = { Link: `<${location}>; rel="next"` };
      if (url.includes('/tags/list')) return Response.json({ name: 'app', tags: ['v1'] }, { headers });
      return url.includes('/referrers/') ? Response.json({ schemaVersion: 2, manifests: [] }, { headers }) : undefined;
    };
    await status('tags/list?upstream=true');
    await status(`referrers/${digest}?upstream=true`);
    expect(elsewhere()).toEqual([]);
  });
});

test('the login goes to the upstream alone: not to its redirects, its links or its token service', async () => {
  await becomeMirror('alice', { credential: CREDENTIAL });
  await upstream.image('app', 'v1');
  const sent: string[] = [];
  upstream.answers = ({ url, headers }) => {
    const { origin, pathname } = new URL(url);
    if (origin !== UPSTREAM) {
      if (headers.has('authorization')) sent.push(url);
      return new Response(null, { status: 404 });
    }
    if (!headers.has('authorization')) {
      const realm = pathname.includes('/tags/') ? `Bearer realm="${OTHER}/token"` : 'Basic realm="x"';
      return new Response(null, { status: 401, headers: { 'WWW-Authenticate': realm } });
    }
    return new Response(null, { status: 307, headers: { Location: `${OTHER}${pathname}` } });
  };
  for (const path of ['tags/list?upstream=true', 'manifests/v1', `blobs/${(await upstream.blob('x')).digest}`])
    await status(path);
  expect(upstream.requests.some((each) => each.includes(OTHER))).toBe(true);
  expect(sent).toEqual([]);
});

describe('wrong bytes do not stay', () => {
  test('of a manifest', async () => {
    await becomeMirror('alice');
    const [right, wrong] = [await upstream.image('app', 'v1'), await upstream.image('app', 'other')];
    upstream.answers = ({ url, method }) =>
      method === 'GET' && url.endsWith(right.digest)
        ? new Response(wrong.bytes, { headers: { 'Content-Type': IMAGE, 'Docker-Content-Digest': right.digest } })
        : undefined;
    for (const path of ['manifests/v1', `manifests/${right.digest}`])
      expect([path, await status(path)]).toEqual([path, 503]);
    expect(await linksOf('alice')).toEqual([]);
    // A change ends the pause.
    upstream.answers = () => undefined;
    await becomeMirror('alice');
    expect(await status(`manifests/${right.digest}`)).toBe(200);
  });
});

describe('knowing a digest of another organization', () => {
  let secret: string;
  let manifest: string;
  beforeEach(async () => {
    const image = await putImage('bob/secret', 1, ['latest'], { as: 'bob' });
    secret = first(image.manifest.requiredBlobs);
    manifest = image.digest;
  });

  test('gives nothing through a mirror whose upstream claims to have it', async () => {
    await becomeMirror('alice', { pushes: 'kept' });
    const claim = await upstream.manifest('app', 'claim', IMAGE, {
      config: { mediaType: 'application/json', digest: secret, size: 100 },
      layers: [{ mediaType: 'application/json', digest: secret, size: 100 }],
    });
    upstream.answers = ({ url, method }) => {
      if (!url.endsWith(secret) && !url.endsWith(manifest)) return undefined;
      const headers = { 'Content-Length': '100', 'Docker-Content-Digest': secret, 'Content-Type': IMAGE };
      return method === 'HEAD' ? new Response(null, { headers }) : new Response(new Uint8Array(100), { headers });
    };
    expect(await status('manifests/claim')).toBe(200);
    expect(await status(`manifests/${claim.digest}`)).toBe(200);
    expect(await status(`manifests/${manifest}`)).toBe(503);
    const [, bytes] = await read(`blobs/${secret}`);
    expect(bytes.replaceAll('\0', '')).not.toContain('{');
    expect(await linksOf('alice')).toEqual([]);
    const mount = `/v2/alice/app/blobs/uploads/?mount=${secret}&from=bob/secret`;
    expect((await call('POST', mount, { as: 'alice' })).status).toBe(202);
  });

  test('gives nothing that its mirror has pulled with a login', async () => {
    await becomeMirror('bob', { credential: CREDENTIAL });
    await becomeMirror('alice');
    const image = await upstream.image('app', 'v1');
    const layer = await upstream.blob('layer of v1');
    upstream.answers = ({ headers }) =>
      headers.has('authorization')
        ? undefined
        : new Response(null, { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="x"' } });
    expect(await status('manifests/v1', 'bob')).toBe(200);
    expect(await linksOf('bob')).not.toEqual([]);
    for (const path of ['manifests/v1', `manifests/${image.digest}`, `blobs/${layer.digest}`]) {
      expect([path, await status(path)]).toEqual([path, 404]);
      expect([path, await status(path, 'alice', 'bob')]).toEqual([path, 403]);
      expect((await call('HEAD', `/v2/alice/app/${path}`, { as: 'alice' })).status).toBe(404);
    }
    expect((await call('GET', '/v2/alice/app/tags/list?upstream=true', { as: 'alice' })).status).toBe(404);
    expect(await linksOf('alice')).toEqual([]);
  });
});

test('the upstream is asked nothing for callers who may not pull', async () => {
  await becomeMirror('alice');
  const { digest } = await upstream.image('app', 'v1');
  const layer = await upstream.blob('layer of v1');
  for (const as of ['bob', undefined] as const) {
    for (const path of ['manifests/v1', `manifests/${digest}`, `blobs/${layer.digest}`, 'tags/list?upstream=true']) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await call(method, `/v2/alice/app/${path}`, as === undefined ? {} : { as });
        expect([as, path, answer.status]).toEqual([as, path, as === undefined ? 401 : 403]);
      }
    }
  }
  expect(upstream.requests).toEqual([]);
});

test('Berth decides who may pull stored images, even if the upstream withdraws its permission', async () => {
  await becomeMirror('alice', { ttl: 0 });
  const { digest } = await upstream.image('app', 'v1');
  expect(await status('manifests/v1')).toBe(200);
  expect(await linksOf('alice')).not.toEqual([]);
  upstream.answers = () => new Response(null, { status: 403 });
  expect(await status('manifests/v1')).toBe(404);
  expect(await status(`manifests/${digest}`)).toBe(200);
});

describe('after a change of the mirror, nothing of its earlier upstream is shown', () => {
  /** Holds back the first upstream's answers about a path. */
  function holdBack(path: string): { readonly asked: () => Promise<unknown>; readonly release: () => void } {
    const held = { isOn: true };
    let isAsked = false;
    upstream.answers = async ({ url }) => {
      if (url.startsWith(OTHER)) return new Response(null, { status: 404 });
      isAsked ||= url.includes(path);
      // A promise of the test would not wake the Durable Object that waits for it.
      while (held.isOn && url.includes(path)) await scheduler.wait(5);
      return undefined;
    };
    return { asked: () => vi.waitUntil(() => isAsked), release: () => (held.isOn = false) };
  }

  test('a tag that was being asked for', async () => {
    await becomeMirror('alice');
    await upstream.image('app', 'v1');
    const { asked, release } = holdBack('manifests/v1');
    const before = status('manifests/v1');
    await asked();
    await becomeMirror('alice', { from: OTHER });
    const meanwhile = status('manifests/v1');
    release();
    await before;
    expect(await meanwhile).toBe(404);
    expect(await status('manifests/v1')).toBe(404);
  });

  test('a manifest that was being fetched', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.image('app', 'v1');
    const { asked, release } = holdBack(`manifests/${digest}`);
    const before = status(`manifests/${digest}`);
    await asked();
    await becomeMirror('alice', { from: OTHER });
    const meanwhile = status(`manifests/${digest}`);
    release();
    await before;
    expect(await meanwhile).toBe(404);
    expect(await status(`manifests/${digest}`)).toBe(404);
  });

  test('a blob that was being fetched', async () => {
    await becomeMirror('alice');
    await upstream.image('app', 'v1');
    const { digest } = await upstream.blob('layer of v1');
    const { asked, release } = holdBack(`blobs/${digest}`);
    const before = status(`blobs/${digest}`);
    await asked();
    await becomeMirror('alice', { from: OTHER });
    const meanwhile = status(`blobs/${digest}`);
    expect(await meanwhile).toBe(404);
    release();
    await before;
  });
});
