/** The history of a tag: who wrote it, and the difference of two of its writes. */
import { beforeEach, describe, expect, test } from 'vitest';
import { changesOf } from '../../src/console/difference.ts';
import { addUsers, call, callApi } from '../support/client.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { CONFIG, layer, type Part, pushManifest, pushParts } from './pushed-image.ts';
import { Reader } from './support.ts';

const APP = 'alice/app';
const HISTORY = `/images/${APP}:latest/history`;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

const push = (config: object | string, ...layers: readonly string[]): Promise<string> => {
  const part: Part = { mediaType: CONFIG, text: typeof config === 'string' ? config : JSON.stringify(config) };
  return pushParts(hosts, APP, 'latest', part, layers.map(layer));
};

const difference = (from: string, to: string): string => `/images/${APP}:latest/difference?from=${from}&to=${to}`;

async function compared(from: string, to: string): Promise<string> {
  return (await Reader.signedIn('alice')).text(difference(from, to));
}

/** Returns the rows of a table, each with its cells as text. */
function rowsOf(page: string, caption: string): readonly (readonly string[])[] {
  const start = page.indexOf(`<caption>${caption}</caption>`);
  const body = start < 0 ? '' : page.slice(page.indexOf('<tbody>', start), page.indexOf('</tbody>', start));
  return [...body.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row = '']) =>
    [...row.matchAll(/<td[^>]*>(.*?)<\/td>/gs)].map(([, cell = '']) => cell.replaceAll(/<[^>]*>/g, '')),
  );
}

test('names who wrote each entry, to those who may know', async () => {
  await hosts.push('central', APP, 1, 'latest', 'aliceApp');
  expect((await call('DELETE', `/v2/${APP}/manifests/latest`, { as: 'alice' })).status).toBe(202);
  const by = async (user: string, secret?: string): Promise<readonly (string | undefined)[]> =>
    rowsOf(await (await Reader.signedIn(user, secret)).text(HISTORY), 'Writes of the tag, latest first').map(
      (cells) => cells[3],
    );
  expect(await by('reader')).toEqual(['alice', 'app-only']);
  expect((await callApi('PATCH', 'organizations/alice/repositories/app', 'alice', { visibility: 'public' })).ok).toBe(
    true,
  );
  expect(await by('bob')).toEqual(['—', '—']);
});

test('offers to compare the last two writes; a deletion has nothing to compare', async () => {
  const from = await push({}, 'one');
  const reader = await Reader.signedIn('alice');
  expect(await reader.text(HISTORY)).not.toContain('Compare the two');
  const to = await push({}, 'two');
  expect((await call('DELETE', `/v2/${APP}/manifests/latest`, { as: 'alice' })).status).toBe(202);
  const page = await reader.text(HISTORY);
  expect(page).toContain(`<form id="difference" method="get" action="/images/${APP}:latest/difference"`);
  const radios = [...page.matchAll(/<input type="radio" name="(\w+)" value="([^"]*)" form="difference"( checked)?/g)];
  expect(radios.map(([, name, value, checked]) => [name, value, checked !== undefined])).toEqual([
    ['from', to, false],
    ['to', to, true],
    ['from', from, true],
    ['to', from, false],
  ]);
});

describe('the difference of two writes', () => {
  test('shows layers that were removed, added and kept, with their sizes', async () => {
    const page = await compared(await push({}, 'base', 'old'), await push({}, 'base', 'newer', 'more'));
    expect(rowsOf(page, 'Layers of the two images').map(([change, , size]) => [change, size])).toEqual([
      ['removed', '3 B'],
      ['added', '5 B'],
      ['added', '4 B'],
      ['kept', '4 B'],
    ]);
    expect(page).toContain('<p>1 removed (3 B), 2 added (9 B), 1 kept (4 B)</p>');
    expect(page).toContain('Both configs set the same.');
  });

  test('says so if only the order of the layers differs', async () => {
    const page = await compared(await push({}, 'one', 'two'), await push({}, 'two', 'one'));
    expect(page).toContain('2 kept (6 B), in another order');
  });

  test('shows the settings that differ, and the steps of the builds', async () => {
    const from = {
      created: '2026-11-29T10:00:00Z',
      os: 'linux',
      config: { User: 'root', Entrypoint: ['/a'], Env: ['PATH=/bin', 'HOME=/'], Labels: { a: '1', b: '2' } },
      history: [{ created_by: 'COPY base' }, { created_by: 'COPY old' }],
    };
    const to = {
      ...from,
      created: '2026-11-30T10:00:00Z',
      config: {
        Entrypoint: ['/a', '-v'],
        WorkingDir: '/srv',
        Env: ['PATH=/usr/bin', 'HOME=/'],
        Labels: { a: '1', b: '3' },
        ExposedPorts: { '80/tcp': {} },
      },
      history: [{ created_by: 'COPY base' }, { created_by: 'COPY new' }],
    };
    const page = await compared(await push(from, 'one'), await push(to, 'one'));
    expect(rowsOf(page, 'Settings that differ')).toEqual([
      ['Built', '2026-11-29T10:00:00.000Z', '2026-11-30T10:00:00.000Z'],
      ['Entrypoint', '[&quot;/a&quot;]', '[&quot;/a&quot;,&quot;-v&quot;]'],
      ['User', 'root', ''],
      ['Environment', 'PATH=/bin', 'PATH=/usr/bin'],
      ['Labels', 'b=2', 'b=3'],
      ['Working directory', '', '/srv'],
      ['Ports', '', '80/tcp'],
    ]);
    expect(rowsOf(page, 'Steps of the two builds')).toEqual([
      ['removed', 'COPY old'],
      ['added', 'COPY new'],
      ['kept', 'COPY base'],
    ]);
  });

  test('shows the text of tenants as text, never as markup', async () => {
    const evil = { config: { User: EVIL, Env: [EVIL], Labels: { [EVIL]: EVIL } }, history: [{ created_by: EVIL }] };
    const [from, to] = [await push(evil, 'one'), await push({}, 'one')];
    for (const page of [await compared(from, to), await compared(to, from)]) {
      expect(page).not.toContain('<script>');
      expect(page).not.toContain('<img');
      expect(page.match(/&lt;script&gt;/g)?.length).toBeGreaterThanOrEqual(5);
    }
  });

  test.each([
    ['larger than a page reads', JSON.stringify({ config: { User: 'x'.repeat(300_000) } })],
    ['not JSON', 'no config'],
    ['deeply nested', `${'['.repeat(50_000)}${']'.repeat(50_000)}`],
  ])('says that a config that is %s cannot be compared', async (_, text) => {
    const page = await compared(await push(text, 'one'), await push({}, 'two'));
    expect(page).toContain('The configs cannot be compared');
    expect(page).toContain('1 removed (3 B)');
  });

  test('compares indexes by platform, with links to the difference of two images', async () => {
    const [one, two, three] = [1, 2, 3].map((i) => `sha256:${String(i).repeat(64)}`) as [string, string, string];
    const entry = (digest: string, architecture: string) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest,
      size: 400,
      platform: { os: 'linux', architecture },
    });
    const index = (...manifests: readonly object[]): Promise<string> =>
      pushManifest(APP, 'latest', INDEX, { schemaVersion: 2, mediaType: INDEX, manifests });
    const from = await index(entry(one, 'amd64'), entry(two, 'arm64'), entry(three, 's390x'));
    const to = await index(entry(one, 'amd64'), entry(three, 'arm64'), entry(two, 'riscv64'));
    const page = await compared(from, to);
    expect(rowsOf(page, 'Manifests of the two indexes').map(([platform, , , state]) => [platform, state])).toEqual([
      ['linux/amd64', 'kept'],
      ['linux/arm64', 'Compare'],
      ['linux/s390x', 'removed'],
      ['linux/riscv64', 'added'],
    ]);
    expect(page).toContain(new URLSearchParams({ from: two, to: three }).toString().replace('&', '&amp;'));
    expect(await compared(from, await push({}, 'one'))).toContain('Compare it with an image of the index');
  });

  test('says so if a manifest is gone, or too large, or both are the same', async () => {
    const [gone, kept] = [await push({}, 'one'), await push({}, 'two')];
    expect((await call('DELETE', `/v2/${APP}/manifests/${gone}`, { as: 'alice' })).status).toBe(202);
    const page = await compared(gone, kept);
    expect(page).toContain('is not at central: it was deleted');
    expect(page).not.toContain('Layers');
    expect(await compared(kept, kept)).toContain('Both are the same image.');
    const type = 'application/vnd.example.thing.v1+json';
    const large = await pushManifest(APP, 'large', type, {
      mediaType: type,
      annotations: { a: '&'.repeat(64 * 1024) },
    });
    expect(await compared(kept, large)).toContain('is larger than 64 KiB');
  });

  test('is only for those who may pull', async () => {
    const [from, to] = [await push({}, 'one'), await push({}, 'two')];
    expect((await (await Reader.signedIn('bob')).send('GET', difference(from, to))).status).toBe(403);
    expect((await (await Reader.signedIn('admin')).send('GET', difference(from, to))).status).toBe(403);
    expect((await call('GET', difference(from, to), { host: 'http://console.localhost:8790' })).status).not.toBe(200);
  });

  test.each(['', 'latest', '../../api/caller', EVIL, 'sha256:', 'sha256:x/../y'])('is 400 for %j', async (bad) => {
    const good = `sha256:${'0'.repeat(64)}`;
    const reader = await Reader.signedIn('alice');
    for (const [from, to] of [
      [bad, good],
      [good, bad],
    ] as const) {
      const answer = await reader.send('GET', difference(encodeURIComponent(from), encodeURIComponent(to)));
      expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('choose a write')]);
    }
  });
});

test('changes are those between two lists, in which an item can occur several times', () => {
  const changes = changesOf(['a', 'b', 'a', 'c'], ['a', 'c', 'c'], (item) => item);
  expect(changes.map(({ change, item }) => `${change} ${item}`)).toEqual([
    'removed b',
    'removed a',
    'added c',
    'kept a',
    'kept c',
  ]);
});
