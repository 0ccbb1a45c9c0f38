/** The page of an image: its config, how it was built, and the documents among its parts. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { BUDGET_BYTES, isolateBudget } from '../../src/registry/buffering.ts';
import { addUsers, call } from '../support/client.ts';
import { digestOf as contentDigest } from '../../src/oci/digest.ts';
import { imageOf, utf8 } from '../support/fixture.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { parseConfig } from '../../src/console/image-config.ts';
import { readable } from '../../src/console/readable.ts';
import { CONFIG, layer, type Part, pushParts } from './pushed-image.ts';
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
