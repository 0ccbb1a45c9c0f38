/**
 * Mirrors of an upstream that misbehaves, at central and at a node. Clients get the right answer meanwhile. Once the
 * upstream behaves, they get the right bytes, which then come from the store.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../src/local/simulators.ts';
import {
  callerAt,
  changeMirror,
  differencesOf,
  HOSTS,
  type HostName,
  startMirror,
  storedAt,
} from '../support/local/mirrors.ts';
import { request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { until } from '../support/local/server.ts';
import { json, MemoryUpstream, type Misbehaviour } from '../support/local/upstream.ts';

const LAYER_BYTES = 100_000;
const LOGIN = { username: 'ci', password: 'a-password-of-this-upstream' };

const server = serverForFile();
let upstream: MemoryUpstream;
let other: MemoryUpstream;
let closedPort: number;
beforeAll(async () => {
  upstream = await MemoryUpstream.start();
  other = await MemoryUpstream.start();
  closedPort = await freePort();
});
afterEach(() => {
  upstream.misbehaves = () => false;
  other.misbehaves = () => false;
});
afterAll(async () => {
  await upstream.stop();
  await other.stop();
});

/** An image that only the upstream has, a mirror of it, and the host that is asked. */
interface Case {
  readonly host: HostName;
  readonly organization: string;
  /** At the upstream. */
  readonly repository: string;
  readonly layer: string;
}

/** Makes a mirror and an image for each host, so that none takes from another what the upstream sent. */
async function casesOf(name: string, settings: object = {}): Promise<readonly Case[]> {
  return Promise.all(
    HOSTS.map(async (host) => {
      const organization = `${name}-at-${host}`;
      const layer = upstream.blob(randomBytes(LAYER_BYTES));
      const config = upstream.blob(randomBytes(100), 'application/vnd.oci.image.config.v1+json');
      upstream.document(organization, 'application/vnd.oci.image.manifest.v1+json', { config, layers: [layer] }, ['1']);
      await startMirror(server.current, organization, { from: upstream.url, ...settings });
      return { host, organization, repository: organization, layer: layer.digest };
    }),
  );
}

function ask({ host, organization, repository }: Case, method: string, path: string): Promise<Response> {
  return request(callerAt(server.current, host), method, `/v2/${organization}/${repository}/${path}`);
}

/** Returns the status of a tag for a client. */
async function tagOf(each: Case): Promise<number> {
  return (await ask(each, 'GET', 'manifests/1')).status;
}

/** Returns the outcome of a download: the status if it is refused, or how the bytes are. */
async function layerOf(each: Case): Promise<number | 'broken' | 'right' | 'wrong'> {
  const answer = await ask(each, 'GET', `blobs/${each.layer}`).catch(() => undefined);
  const bytes = await answer?.arrayBuffer().catch(() => undefined);
  if (answer === undefined || bytes === undefined) return 'broken';
  if (answer.status !== 200) return answer.status;
  return Buffer.from(bytes).equals(upstream.content(each.layer)) ? 'right' : 'wrong';
}

/** Returns the requests for something of a case that the upstream got. */
function asked({ repository }: Case, kind: string): string[] {
  return upstream.requests.filter((each) => each.includes(`/v2/${repository}/${kind}`));
}

const away: Misbehaviour = (_request, response) => {
  response.destroy();
  return true;
};

/** Waits until all of an image is right, and makes sure that it stays so without the upstream. */
async function expectHealed({ host, organization, repository }: Case): Promise<void> {
  const wrong = (): Promise<string[]> =>
    differencesOf(callerAt(server.current, host), upstream, repository, `${organization}/${repository}`);
  await until(async () => (await wrong()).length === 0);
  await storedAt(server.current, host, organization);
  const { misbehaves } = upstream;
  upstream.misbehaves = (incoming, response) =>
    incoming.url?.includes(`/v2/${repository}/`) === true ? away(incoming, response) : misbehaves(incoming, response);
  expect([host, await wrong()]).toEqual([host, []]);
}

/** Misbehaves for GETs of blobs alone. */
const forBlobs =
  (misbehave: (content: Buffer, response: ServerResponse, incoming: IncomingMessage) => void): Misbehaviour =>
  (incoming, response) => {
    const { method, url = '' } = incoming;
    const content = upstream.content(url.split('/').at(-1) ?? '');
    if (method !== 'GET' || !url.includes('/blobs/') || content.byteLength !== LAYER_BYTES) return false;
    misbehave(content, response, incoming);
    return true;
  };

const forManifests =
  (misbehave: (response: ServerResponse) => void): Misbehaviour =>
  ({ url = '', method }, response) => {
    if (method !== 'GET' || !url.includes('/manifests/')) return false;
    misbehave(response);
    return true;
  };

const html: Misbehaviour = (_request, response) => {
  const page = '<html>please log in</html>';
  response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Length': page.length });
  response.end(page);
  return true;
};

const tokenService =
  (realm: () => string): Misbehaviour =>
  ({ url = '' }, response) => {
    if (url.startsWith('/token')) json(response, { token: 'one-that-is-never-accepted' });
    else json(response, { errors: [] }, 401, { 'WWW-Authenticate': `Bearer realm="${realm()}"` });
    return true;
  };

const FAULTS: readonly {
  readonly name: string;
  readonly misbehaves: Misbehaviour;
  readonly tag: number;
  readonly layer: number | 'broken' | 'right';
}[] = [
  {
    name: 'sends wrong bytes of blobs',
    misbehaves: forBlobs((_content, response) => response.end(randomBytes(LAYER_BYTES))),
    tag: 200,
    layer: 'broken',
  },
  {
    name: 'sends wrong manifests',
    misbehaves: forManifests((response) => json(response, { schemaVersion: 2, manifests: [] })),
    tag: 503,
    layer: 'right',
  },
  {
    name: 'breaks off manifests',
    misbehaves: forManifests((response) => {
      response.writeHead(200, { 'Content-Length': 500 });
      response.write('{', () => response.destroy());
    }),
    tag: 503,
    layer: 'right',
  },
  { name: 'answers with HTML', misbehaves: html, tag: 503, layer: 'broken' },
  {
    name: 'asks for a token of a service that is away',
    misbehaves: tokenService(() => `http://localhost:${closedPort}/token`),
    tag: 503,
    layer: 503,
  },
  {
    name: 'redirects to an address',
    misbehaves: (_request, response) => {
      response.writeHead(307, { Location: 'http://169.254.169.254/latest/meta-data/' }).end();
      return true;
    },
    tag: 503,
    layer: 503,
  },
  {
    name: 'sends blobs in chunks, without a length',
    misbehaves: forBlobs((content, response) => {
      response.write(content.subarray(0, 1000));
      response.end(content.subarray(1000));
    }),
    tag: 200,
    layer: 'right',
  },
];

test.each(FAULTS)('an upstream that $name', async ({ name, misbehaves, tag, layer }) => {
  const cases = await casesOf(name.replaceAll(/[^a-z]+/gi, '-').toLowerCase());
  upstream.misbehaves = misbehaves;
  // The layer first: a pull of the tag has the whole image fetched.
  const seen = await Promise.all(cases.map(async (each) => [each.host, await layerOf(each), await tagOf(each)]));
  expect(seen).toEqual(HOSTS.map((host) => [host, layer, tag]));
  upstream.misbehaves = () => false;
  for (const each of cases) await expectHealed(each);
});

describe('an upstream that drops the connection in a blob', () => {
  const dropsOnce = (rest: (content: Buffer, response: ServerResponse, range: string) => void): Misbehaviour => {
    const dropped = new Set<string | undefined>();
    return forBlobs((content, response, { url, headers }) => {
      if (dropped.has(url)) return rest(content, response, headers.range ?? '');
      dropped.add(url);
      response.writeHead(200, { 'Content-Length': content.byteLength });
      response.write(content.subarray(0, 1000), () => response.destroy());
    });
  };

  test('is asked for the rest', async () => {
    const cases = await casesOf('drops');
    const ranges: string[] = [];
    upstream.misbehaves = dropsOnce((content, response, range) => {
      ranges.push(range);
      const from = Number(/^bytes=(\d+)-/.exec(range)?.[1] ?? 0);
      const last = content.byteLength - 1;
      response.writeHead(206, {
        'Content-Length': content.byteLength - from,
        'Content-Range': `bytes ${from}-${last}/${content.byteLength}`,
      });
      response.end(content.subarray(from));
    });
    expect(await Promise.all(cases.map(layerOf))).toEqual(['right', 'right']);
    expect(ranges).toEqual(HOSTS.map(() => expect.stringMatching(/^bytes=\d+-99999$/) as string));
    for (const each of cases) await expectHealed(each);
  });

  test('and ignores ranges is read from the first byte', async () => {
    const cases = await casesOf('no-range');
    upstream.misbehaves = dropsOnce((content, response) => response.end(content));
    expect(await Promise.all(cases.map(layerOf))).toEqual(['right', 'right']);
    for (const each of cases) await expectHealed(each);
  });
});

test('an upstream that gives blobs no length at all is read once the manifest has said it', async () => {
  const cases = await casesOf('no-length');
  upstream.misbehaves = ({ url = '', method }, response) => {
    if (!url.includes('/blobs/')) return false;
    const content = upstream.content(url.split('/').at(-1) ?? '');
    response.writeHead(200);
    if (method !== 'HEAD') response.write(content.subarray(0, 50));
    response.end(method === 'HEAD' ? undefined : content.subarray(50));
    return true;
  };
  expect(await Promise.all(cases.map(tagOf))).toEqual([200, 200]);
  for (const each of cases) await expectHealed(each);
});

test('an upstream that answers 429 is left alone for as long as it asks', async () => {
  const cases = await casesOf('limited');
  let refusedAt = 0;
  upstream.misbehaves = (_request, response) => {
    refusedAt ||= Date.now();
    response.writeHead(429, { 'Retry-After': '12' }).end();
    return true;
  };
  for (const each of cases) {
    for (const path of ['manifests/1', 'manifests/1', `blobs/${each.layer}`, `blobs/${each.layer}`]) {
      const answer = await ask(each, 'GET', path);
      expect([path, answer.status]).toEqual([path, 503]);
      if (path.startsWith('manifests')) expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(2);
    }
    expect(asked(each, 'manifests')).toHaveLength(1);
    expect(asked(each, 'blobs')).toHaveLength(1);
  }
  upstream.misbehaves = () => false;
  for (const each of cases) await expectHealed(each);
  expect(Date.now() - refusedAt).toBeGreaterThanOrEqual(12_000);
});

test('an upstream that accepts no token is not asked without end, and nothing of it is known', async () => {
  const cases = await casesOf('login-loop');
  upstream.misbehaves = tokenService(() => `${upstream.url}/token`);
  upstream.requests.length = 0;
  const seen = await Promise.all(cases.map(async (each) => [await tagOf(each), await layerOf(each)]));
  expect(seen).toEqual([
    [404, 404],
    [404, 404],
  ]);
  for (const each of cases) expect(asked(each, '').length).toBeLessThan(10);
  upstream.misbehaves = () => false;
  // A tag that was missing is one for a minute, unless the mirror changes.
  for (const { organization } of cases) await changeMirror(server.current, organization, { from: upstream.url });
  for (const each of cases) await expectHealed(each);
});

test('an upstream that redirects to another host is followed there without its login', async () => {
  const cases = await casesOf('redirects', LOGIN);
  const authorization = `Basic ${btoa(`${LOGIN.username}:${LOGIN.password}`)}`;
  const told: unknown[] = [];
  other.misbehaves = ({ url = '', headers }, response) => {
    told.push(headers.authorization);
    response.end(upstream.content(url.split('/').at(-1) ?? ''));
    return true;
  };
  upstream.misbehaves = ({ url = '', headers }, response) => {
    if (headers.authorization !== authorization) {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="registry"' }).end();
      return true;
    }
    if (!url.includes('/blobs/')) return false;
    response.writeHead(307, { Location: `${other.url}${url}` }).end();
    return true;
  };
  const seen = await Promise.all(cases.map(async (each) => [await tagOf(each), await layerOf(each)]));
  expect(seen).toEqual([
    [200, 'right'],
    [200, 'right'],
  ]);
  for (const each of cases) await expectHealed(each);
  expect(new Set(told)).toEqual(new Set([undefined]));
});

describe('a slow upstream', () => {
  /** Holds answers back until they are released. */
  function held(holds: (incoming: IncomingMessage) => boolean): {
    readonly misbehaves: Misbehaviour;
    readonly release: () => void;
  } {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    return { misbehaves: (incoming) => (holds(incoming) ? promise : false), release: () => resolve(false) };
  }

  test('gives its first bytes to clients before its last', async () => {
    const cases = await casesOf('slow');
    const waiting: (() => void)[] = [];
    upstream.misbehaves = forBlobs((content, response) => {
      response.writeHead(200, { 'Content-Length': content.byteLength });
      response.write(content.subarray(0, LAYER_BYTES / 2));
      waiting.push(() => response.end(content.subarray(LAYER_BYTES / 2)));
    });
    const readers = await Promise.all(
      cases.map(async (each) => (await ask(each, 'GET', `blobs/${each.layer}`)).body!.getReader()),
    );
    const firsts = await Promise.all(readers.map((reader) => reader.read()));
    expect(firsts.map(({ value }) => (value?.byteLength ?? 0) > 0)).toEqual([true, true]);
    for (const finish of waiting) finish();
    for (const [i, reader] of readers.entries()) {
      const pieces = [firsts[i]?.value ?? new Uint8Array()];
      for (let next = await reader.read(); next.value !== undefined; next = await reader.read())
        pieces.push(next.value);
      expect(Buffer.concat(pieces).equals(upstream.content(cases[i]?.layer ?? ''))).toBe(true);
    }
    upstream.misbehaves = () => false;
    for (const each of cases) await expectHealed(each);
  });

  test('does not keep back a tag that is known', async () => {
    const cases = await casesOf('slow-tag', { ttl_seconds: 0 });
    expect(await Promise.all(cases.map(tagOf))).toEqual([200, 200]);
    const { misbehaves, release } = held(({ method }) => method === 'HEAD');
    upstream.misbehaves = misbehaves;
    const known = await Promise.all(cases.map((each) => ask(each, 'GET', 'manifests/1')));
    expect(known.map(({ status, headers }) => [status, headers.get('Warning')?.slice(0, 3)])).toEqual([
      [200, '111'],
      [200, '111'],
    ]);
    release();
    await until(async () => (await ask(cases[0]!, 'HEAD', 'manifests/1')).headers.get('Warning') === null);
    upstream.misbehaves = () => false;
    for (const each of cases) await expectHealed(each);
  });
});
