/** The page of an image: what it shows and does, its manifest and config, and the documents among its parts. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { BUDGET_BYTES, isolateBudget } from '../../src/registry/buffering.ts';
import { addUsers, call, callApi } from '../support/client.ts';
import { digestOf as contentDigest } from '../../src/oci/digest.ts';
import { imageOf, utf8 } from '../support/fixture.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { parseConfig } from '../../src/console/image-config.ts';
import { readable } from '../../src/console/readable.ts';
import { CONFIG, layer, MANIFEST, type Part, pushManifest, pushParts } from './pushed-image.ts';
import { Reader } from './support.ts';

const APP = 'alice/app';
const EVIL = '"><script>alert(1)</script>';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

const push = (tag: string, config: Part, layers: readonly Part[]): Promise<string> =>
  pushParts(hosts, APP, tag, config, layers);

const LAYER = layer('not really an archive');

describe('an image', () => {
  test('is shown with its layers, its state and its locations', async () => {
    const image = await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    expect(await reader.text('/images')).toContain('href="/images/alice/app"');
    expect(await reader.text(`/images/${APP}`)).toContain('href="/images/alice/app:latest"');
    const page = await reader.text(`/images/${APP}:latest`);
    for (const text of [image.digest, 'settled', 'central', 'docker pull localhost:8787/alice/app:latest'])
      expect(page).toContain(text);
    expect(await reader.text(`/images/${APP}@${image.digest}`)).toContain(image.digest);
  });

  test('is put back from the history of its tag', async () => {
    const first = await hosts.push('central', APP, 1, 'latest');
    const second = await hosts.push('central', APP, 2, 'latest');
    const reader = await Reader.signedIn('alice');
    const history = await reader.text(`/images/${APP}:latest/history`);
    expect(history).toContain(first.digest);
    await reader.submit(`/images/${APP}:latest/history`, `/images/${APP}:latest/restore`);
    const shown = await reader.text(`/images/${APP}:latest`);
    expect(shown).toContain(first.digest);
    expect(shown).not.toContain(second.digest);
  });

  test('is deleted by its tag, once that is confirmed', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    expect(await reader.text(`/images/${APP}:latest`)).toContain(`<a href="/images/${APP}:latest/delete">`);
    const answer = await reader.submit(`/images/${APP}:latest/delete`, `/images/${APP}:latest/delete`);
    expect(answer.headers.get('Location')).toBe(`/images/${APP}`);
    expect((await reader.send('GET', `/images/${APP}:latest`)).status).toBe(404);
  });

  test('has no button for an action that its reader may not take', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice', 'reader-secret');
    const page = await reader.text(`/images/${APP}:latest`);
    expect(page).not.toContain('/delete"');
    expect(page).not.toContain('/prefetch"');
  });

  test('has no button outside of the patterns of its reader', async () => {
    await hosts.push('central', 'alice/other', 1, 'latest');
    expect(
      (await callApi('PATCH', 'organizations/alice/repositories/other', 'alice', { visibility: 'public' })).ok,
    ).toBe(true);
    const created = await callApi('POST', 'organizations/alice/credentials', 'alice', {
      name: 'narrow',
      rights: ['pull', 'push', 'delete', 'admin'],
      repositories: [APP],
    });
    const { secret } = await created.json<{ secret: string }>();
    const reader = await Reader.signedIn('alice', secret);
    const pages = [await reader.text('/images/alice/other:latest'), await reader.text('/images/alice/other')];
    for (const action of ['/delete"', '/prefetch"', '/retag"', '/visibility"'])
      expect(pages.join('')).not.toContain(action);
  });

  test('gets another tag', async () => {
    const { digest } = await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    const answer = await reader.submit(`/images/${APP}:latest`, `/images/${APP}:latest/retag`, { tag: 'stable' });
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, `/images/${APP}:stable`]);
    const head = await call('HEAD', `/v2/${APP}/manifests/stable`, { as: 'alice' });
    expect(head.headers.get('Docker-Content-Digest')).toBe(digest);
    for (const tag of ['../x', '']) {
      const refused = await reader.submit(`/images/${APP}:latest`, `/images/${APP}:latest/retag`, { tag });
      expect([tag, refused.status]).toEqual([tag, 400]);
    }
  });

  test('of another organization is refused', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('bob');
    expect((await reader.send('GET', `/images/${APP}:latest`)).status).toBe(403);
    expect(await reader.text('/images')).not.toContain(APP);
  });

  test('shows the text of its owner as text, never as markup', async () => {
    const evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>';
    const { bytes } = await hosts.push('central', APP, 1, 'good');
    const manifest = { ...(JSON.parse(new TextDecoder().decode(bytes)) as object), annotations: { [evil]: evil } };
    await pushManifest(APP, 'evil', MANIFEST, manifest);
    const page = await (await Reader.signedIn('alice')).text(`/images/${APP}:evil`);
    expect(page).not.toContain('<script>');
    expect(page).not.toContain('<img');
    expect(page).toContain('&lt;script&gt;');
  });
});

describe('a manifest', () => {
  const OTHER = 'application/vnd.example.thing.v1+json';
  const entry = (i: number) => ({ mediaType: OTHER, size: 2, digest: `sha256:${String(i).padStart(64, '0')}` });

  async function shown(manifest: object): Promise<string> {
    await pushManifest(APP, 'odd', OTHER, manifest);
    return (await Reader.signedIn('alice')).text('/images/alice/app:odd');
  }

  test.each([
    [64 * 1024, 'x'.repeat(64 * 1024)],
    [1024 ** 2, 'crane manifest localhost:8787/alice/app:odd'],
  ])('of more than %i bytes has a page of its own', async (bytes, text) => {
    const page = await shown({ mediaType: OTHER, annotations: { a: 'x'.repeat(bytes) } });
    expect(page.length).toBeLessThan(64 * 1024);
    const contents = '/images/alice/app:odd/contents';
    expect(page).toContain(`href="${contents}"`);
    expect(await (await Reader.signedIn('alice')).text(contents)).toContain(text);
  });

  test('that nests deeply does not make a page many times its size', async () => {
    let nested: unknown = Array.from({ length: 30_000 }, () => 1);
    for (let depth = 0; depth < 60; depth++) nested = [nested];
    expect((await shown({ mediaType: OTHER, nested })).length).toBeLessThan(512 * 1024);
  });

  test('with many entries is shown with the first 100', async () => {
    const page = await shown({ mediaType: OTHER, manifests: Array.from({ length: 130 }, (_, i) => entry(i)) });
    expect(page.split('<tr><td>any').length - 1).toBe(100);
    expect(page).toContain('and 30 more');
  });

  test.each([
    ['an object for layers', { layers: {} }],
    ['a text for manifests', { manifests: 'x' }],
    ['null for a layer', { layers: [null] }],
    ['a layer of other types', { layers: [{ digest: 1, size: '2', mediaType: {} }] }],
    ['a text for a platform', { manifests: [{ ...entry(1), platform: 'linux' }] }],
    ['numbers for a platform and a type', { manifests: [{ ...entry(1), mediaType: 1, platform: { os: 1 } }] }],
    ['a text for the config', { config: 'x', annotations: [null] }],
  ])('of another media type, with %s, is shown all the same', async (_, fields) => {
    expect(await shown({ mediaType: OTHER, ...fields })).toContain('Manifest</h2>');
  });
});

describe('the config of an image', () => {
  test('is shown with the steps of its build and their layers', async () => {
    const config = {
      created: '2026-11-30T10:00:00Z',
      os: 'linux',
      architecture: 'arm64',
      config: { Entrypoint: ['/bin/app', '--port', '80'], Env: ['PATH=/bin'], ExposedPorts: { '80/tcp': {} } },
      history: [
        { created: '2026-11-30T09:00:00Z', created_by: 'COPY app /bin/app' },
        { created_by: 'ENV PATH=/bin', empty_layer: true },
      ],
    };
    await push('built', { mediaType: CONFIG, text: JSON.stringify(config) }, [LAYER]);
    const page = await (await Reader.signedIn('alice')).text(`/images/${APP}:built`);
    for (const text of [
      'linux/arm64',
      '[&quot;/bin/app&quot;,&quot;--port&quot;,&quot;80&quot;]',
      'PATH=/bin',
      '80/tcp',
    ])
      expect(page).toContain(text);
    const steps = page.slice(page.indexOf('Steps of the build'));
    expect(steps.indexOf('COPY app /bin/app')).toBeLessThan(steps.indexOf('21 B'));
    expect(steps.indexOf('21 B')).toBeLessThan(steps.indexOf('ENV PATH=/bin'));
  });

  test('is shown as text, never as markup', async () => {
    const config = { author: EVIL, config: { Labels: { [EVIL]: EVIL } }, history: [{ created_by: EVIL }] };
    await push('evil', { mediaType: CONFIG, text: JSON.stringify(config) }, [LAYER]);
    const page = await (await Reader.signedIn('alice')).text(`/images/${APP}:evil`);
    expect(page).toContain('&lt;script&gt;');
    expect(page).not.toContain('<script>');
  });

  test.each(['', 'null', '[]', '"x"', '{'])('of the text %j is left out', (text) => {
    expect(parseConfig(text)).toBeUndefined();
  });

  test('may have fields of any type', () => {
    const odd = { created: 'once', os: 1, config: { Env: [1, null], Labels: [], Cmd: 'x' }, history: [null, 1, {}] };
    expect(parseConfig(JSON.stringify(odd))).toEqual({
      created: null,
      settings: [],
      steps: [{ created: null, command: '', hasLayer: true }],
    });
    expect(parseConfig(JSON.stringify({ config: 'x', history: {} }))).toEqual({
      created: null,
      settings: [],
      steps: [],
    });
  });
});

describe('layers that images share', () => {
  const SHARED = { ...LAYER, text: 'a layer of many' };

  async function shownTo(user: string, tag: string, secret?: string): Promise<string> {
    return (await Reader.signedIn(user, secret)).text(`/images/${APP}:${tag}`);
  }

  test('name the other images of repositories that the reader may pull', async () => {
    await push('first', { mediaType: CONFIG, text: '{"author":"1"}' }, [SHARED]);
    await push('second', { mediaType: CONFIG, text: '{"author":"2"}' }, [SHARED, LAYER]);
    const page = await shownTo('alice', 'second');
    expect([...page.matchAll(/class="bar shared"/g)]).toHaveLength(1);
    expect(page).toContain(`<a href="/images/${APP}:first">${APP}:first</a>`);
  });

  test('of repositories that the reader may not pull stay hidden', async () => {
    await push('latest', { mediaType: CONFIG, text: '{}' }, [SHARED]);
    const bytes = utf8(SHARED.text);
    for (const content of [bytes, utf8('{}')])
      expect((await hosts.putBlob('central', 'bob/app', content, 'bob')).status).toBe(201);
    const image = await imageOf(await contentDigest('sha256', utf8('{}')), [await contentDigest('sha256', bytes)]);
    expect((await hosts.putManifest('central', 'bob/app', 'latest', image, 'bob')).status).toBe(201);
    expect(await shownTo('alice', 'latest')).not.toContain('class="bar shared"');
  });

  test('are no longer shown as shared once the other image is deleted', async () => {
    const digest = await push('first', { mediaType: CONFIG, text: '{"author":"1"}' }, [SHARED]);
    await push('second', { mediaType: CONFIG, text: '{"author":"2"}' }, [SHARED]);
    expect((await call('DELETE', `/v2/${APP}/manifests/${digest}`, { as: 'alice' })).status).toBe(202);
    expect(await shownTo('alice', 'second')).not.toContain('class="bar shared"');
  });
});

describe('a document among the parts', () => {
  const SBOM = { mediaType: 'application/spdx+json', text: '{"name":"sbom"}' };

  test('is linked, and shown as text', async () => {
    const digest = await push('sbom', { mediaType: 'application/vnd.oci.empty.v1+json', text: '{}' }, [SBOM, LAYER]);
    const reader = await Reader.signedIn('alice');
    const page = await reader.text(`/images/${APP}@${digest}`);
    const links = [...page.matchAll(/href="([^"]*\/contents\?[^"]*)"/g)].map(([, path = '']) => path);
    expect(links).toHaveLength(1);
    expect(await reader.text(links[0] ?? '')).toContain('&quot;name&quot;: &quot;sbom&quot;');
  });

  test('is not found if the image does not list it', async () => {
    await push('app', { mediaType: CONFIG, text: '{}' }, [LAYER]);
    const other = await contentDigest('sha256', utf8(SBOM.text));
    await hosts.putBlob('central', APP, utf8(SBOM.text));
    const answer = await (await Reader.signedIn('alice')).send('GET', `/images/${APP}:app/contents?digest=${other}`);
    expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('does not list')]);
  });

  test('that is not text has a command to download it', async () => {
    await push('binary', { mediaType: CONFIG, text: '{}' }, [{ ...SBOM, text: 'a\0b' }]);
    const reader = await Reader.signedIn('alice');
    const [, path = ''] = /href="([^"]*\/contents\?[^"]*)"/.exec(await reader.text(`/images/${APP}:binary`)) ?? [];
    expect(await reader.text(path)).toContain(`crane blob localhost:8787/${APP}@sha256:`);
  });

  test('of another organization is refused', async () => {
    await push('app', { mediaType: CONFIG, text: '{}' }, [SBOM]);
    const answer = await (await Reader.signedIn('bob')).send('GET', `/images/${APP}:app/contents`);
    expect(answer.status).toBe(403);
  });

  test('that is a signed envelope shows what was signed', () => {
    const payload = btoa(JSON.stringify({ predicateType: 'https://slsa.dev/provenance/v1' }));
    const text = readable(JSON.stringify({ payloadType: 'application/vnd.in-toto+json', payload, signatures: [] }));
    expect(text).toContain('"predicateType": "https://slsa.dev/provenance/v1"');
  });

  test.each([
    ['is nested deeply', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['has many values', `[${'{},'.repeat(60_000)}{}]`],
  ])('that %s is shown as it is, because its lines would take much memory', (_, text) => {
    expect(readable(text)).toBe(text);
  });

  test('that clients do not read holds no more room than other answers, and the next waits', async () => {
    await push('app', { mediaType: CONFIG, text: '{}' }, [{ ...SBOM, text: '"'.repeat(1024 * 1024) }]);
    const reader = await Reader.signedIn('alice');
    const [, path = ''] = /href="([^"]*\/contents\?[^"]*)"/.exec(await reader.text(`/images/${APP}:app`)) ?? [];
    const unread: Response[] = [];
    let waiting = reader.send('GET', path);
    while (await isAnswered(waiting)) {
      unread.push(await waiting);
      waiting = reader.send('GET', path);
    }
    expect(unread.length).toBeGreaterThan(0);
    expect(isolateBudget.inUse()).toBeLessThanOrEqual(BUDGET_BYTES / 2);
    expect(await unread.pop()?.text()).toContain('&quot;&quot;');
    const last = await waiting;
    expect([last.status, last.headers.get('Content-Type')]).toEqual([200, 'text/html; charset=UTF-8']);
    await Promise.all([...unread, last].map(async ({ body }) => body?.cancel()));
    await vi.waitUntil(() => isolateBudget.inUse() === 0);
  });
});

/** Returns whether an answer comes without waiting for room. */
async function isAnswered(asked: Promise<Response>): Promise<boolean> {
  let isDone = false;
  void asked.then(() => (isDone = true));
  await vi.waitUntil(() => isDone || isolateBudget.hasWaiters(), 10_000);
  return isDone;
}
