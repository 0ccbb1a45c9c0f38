/** Faults that `npm run doctor` finds by pushing and pulling, and what it leaves behind: nothing. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { Line } from '../../src/local/doctor/line.ts';
import { diagnose, edgesForFile, repositories, seen, todo } from '../support/local/doctor.ts';
import { type EdgeAnswer, type EdgeRequest, type Fault, withHeaders } from '../support/local/edge.ts';
import { loggedIn, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();
const edges = edgesForFile(server);

const isManifest = ({ path }: EdgeRequest): boolean => path.includes('/manifests/');
const isBlob = ({ path, method }: EdgeRequest): boolean => path.includes('/blobs/sha256:') && method !== 'DELETE';

const compressed = (answer: EdgeAnswer): EdgeAnswer => {
  const body = gzipSync(answer.body);
  return withHeaders({ ...answer, body }, { 'content-encoding': 'gzip', 'content-length': String(body.byteLength) });
};

type Case = readonly [what: string, fault: Fault, expected: readonly RegExp[], advice: RegExp];

const OF_IMAGES: readonly Case[] = [
  [
    'a missing digest',
    {
      change: (answer, asked) =>
        isManifest(asked) && asked.method === 'HEAD'
          ? withHeaders(answer, { 'docker-content-digest': undefined })
          : answer,
    },
    [/^headers: .* Docker-Content-Digest is missing/],
    /transform rule/,
  ],
  [
    'a HEAD without a length',
    {
      change: (answer, asked) =>
        asked.method === 'HEAD' && isBlob(asked) ? withHeaders(answer, { 'content-length': undefined }) : answer,
    },
    [/^headers: .* Content-Length is missing/],
    /transform rule/,
  ],
  [
    'compression',
    { change: (answer, asked) => (asked.method === 'GET' && isManifest(asked) ? compressed(answer) : answer) },
    [/^pull: GET manifests\/\S+ is compressed: Content-Encoding is "gzip"$/],
    /compression/,
  ],
  [
    'a weak ETag',
    {
      change: (answer, asked) =>
        asked.method === 'GET' && isBlob(asked)
          ? withHeaders(answer, { etag: `W/${String(answer.headers['etag'])}` })
          : answer,
    },
    [/^pull: GET blobs\/\S+ has the weak ETag W\//, /^range: GET blobs\/\S+ has the weak ETag/],
    /transformations/,
  ],
  [
    'changed bytes',
    {
      change: (answer, asked) => {
        if (asked.method === 'GET' && isManifest(asked)) answer.body[10] = 0x20;
        return answer;
      },
    },
    [/^pull: GET manifests\/\S+ gives other bytes: byte 10 differs$/],
    /transformations/,
  ],
  [
    'a Range that is ignored',
    { change: (answer, asked) => (isBlob(asked) && 'range' in asked.headers ? { ...answer, status: 200 } : answer) },
    [/^range: GET \S+ is answered with 200/],
    /log/,
  ],
  [
    'a limit on bodies',
    {
      refuse: ({ method, headers }) =>
        method === 'PUT' && Number(headers['content-length']) > 1_500_000 ? { status: 413 } : undefined,
    },
    [/^push: PUT \S+ is answered with 413: the request body is too large$/],
    /Maximum Upload Size/,
  ],
  [
    'a rate limiting rule',
    { refuse: ({ method, path }) => (method === 'POST' && path.includes('/uploads/') ? { status: 429 } : undefined) },
    [/^push: .* 429, but not by Berth$/],
    /rate limiting rule/,
  ],
  [
    'a Location at another host',
    {
      change: (answer, { method }) =>
        method === 'POST' ? withHeaders(answer, { location: 'https://elsewhere/v2/x' }) : answer,
    },
    [/^push: \S+ sends clients on to https:\/\/elsewhere$/],
    /transform rule/,
  ],
];

test.each(OF_IMAGES)('%s is a failure', async (_what, fault, expected, advice) => {
  edges.central.fault = fault;
  const lines = await diagnose([edges.central.url]);
  expect(seen(lines, 'failure')).toEqual(expected.map((each): unknown => expect.stringMatching(each)));
  expect(todo(lines)).toMatch(advice);
  expect(await repositories(server.current)).toEqual([]);
});

test('without a fault there is no failure', async () => {
  const lines = await diagnose([edges.central.url]);
  expect([...seen(lines, 'failure'), ...seen(lines, 'warning')]).toEqual([]);
});

describe('between hosts', () => {
  const between = () => diagnose([edges.central.url, '--hosts', edges.node.host, '--wait', '0.5']);

  test('a push that is not seen elsewhere is a failure', async () => {
    edges.node.fault = {
      refuse: ({ path }) => (path.includes('/manifests/seen-everywhere') ? { status: 404 } : undefined),
    };
    expect(seen(await between(), 'failure')).toEqual([
      `seen everywhere: a push to ${edges.central.host} is not seen at ${edges.node.host} within 0.5 s`,
    ]);
  });

  test('a deletion that is not seen elsewhere is a failure', async () => {
    let deleted = false;
    edges.central.fault = {
      change: (answer, asked) => {
        deleted ||= asked.method === 'DELETE' && isManifest(asked);
        return answer;
      },
    };
    edges.node.fault = { refuse: (asked) => (deleted && isManifest(asked) ? { status: 200 } : undefined) };
    expect(seen(await between(), 'failure')).toEqual([
      `deleted everywhere: a deletion at ${edges.central.host} is not seen at ${edges.node.host} within 0.5 s`,
    ]);
  });

  test('a repository that cannot be removed is a failure that says how to do it', async () => {
    edges.central.fault = { refuse: ({ path }) => (path.startsWith('/api/v2.0/') ? { status: 500 } : undefined) };
    const lines = await diagnose([edges.central.url]);
    expect(seen(lines, 'failure')).toEqual([expect.stringMatching(/^clean-up: alice\/doctor-\w+ is still there: /)]);
    const path = /\/api\/v2\.0\/\S+$/.exec(lines.at(-1)?.todo ?? '')?.[0] ?? '';
    edges.central.fault = {};
    expect((await request(loggedIn(server.current.url, 'alice'), 'DELETE', path)).status).toBe(200);
  });

  const isRemoval = ({ method, path }: EdgeRequest): boolean => method === 'DELETE' && path.startsWith('/api/v2.0/');
  const cleaned = (lines: readonly Line[]) =>
    lines.filter(({ check }) => check === 'clean-up').map(({ host, outcome }) => [host, outcome]);

  test('a host that fails to remove the repository does not keep it from being removed at another', async () => {
    const removedAtNode: boolean[] = [];
    edges.central.fault = { refuse: (asked) => (isRemoval(asked) ? { status: 500 } : undefined) };
    edges.node.fault = {
      change: (answer, asked) => {
        if (isRemoval(asked)) removedAtNode.push(answer.status === 200 || answer.status === 404);
        return answer;
      },
    };
    const lines = await between();
    expect(cleaned(lines)).toEqual([
      [edges.central.host, 'failure'],
      [edges.node.host, 'ok'],
    ]);
    expect(removedAtNode).toEqual([true]);
    expect(todo(lines)).toContain(` -X DELETE ${edges.central.url}/api/v2.0/projects/alice/repositories/doctor-`);
    // The deletion at the node may have reached central.
    edges.central.fault = {};
    const path = /\/api\/v2\.0\/\S+$/.exec(todo(lines) ?? '')?.[0] ?? '';
    const { status } = await request(loggedIn(server.current.url, 'alice'), 'DELETE', path);
    expect([200, 404]).toContain(status);
  });

  test('a host that is slow to remove the repository does not keep another waiting', async () => {
    const removedAtNode = Promise.withResolvers<void>();
    edges.central.fault = { hold: (asked) => (isRemoval(asked) ? removedAtNode.promise : undefined) };
    edges.node.fault = {
      change: (answer, asked) => {
        if (isRemoval(asked)) removedAtNode.resolve();
        return answer;
      },
    };
    expect(cleaned(await between())).toEqual([
      [edges.central.host, 'ok'],
      [edges.node.host, 'ok'],
    ]);
  });
});

describe('with --large', () => {
  const limitedTo = (bytes: number): Fault => ({
    refuse: ({ headers }) => (Number(headers['content-length']) > bytes ? { status: 413 } : undefined),
  });

  test('it finds the largest body that passes', async () => {
    edges.central.fault = limitedTo(20_000_000);
    const lines = await diagnose([edges.central.url, '--large']);
    expect(seen(lines, 'warning')).toEqual([
      expect.stringMatching(/^largest body: 10 MB pass, 50 MB do not: PATCH \S+ is answered with 413/),
    ]);
  });

  test('a limit lower than that of any plan is a failure', async () => {
    edges.central.fault = limitedTo(5_000_000);
    const lines = await diagnose([edges.central.url, '--large']);
    expect(seen(lines, 'failure')).toEqual([
      expect.stringMatching(/^largest body: no body of 10 MB passes: PATCH \S+ is answered with 413/),
    ]);
  });
});

test('a push that fails half way leaves no blob and no upload behind', async () => {
  const left: string[] = [];
  edges.central.fault = {
    refuse: ({ method, path, headers }) => {
      if (method !== 'PUT' || !path.includes('/blobs/uploads/')) return undefined;
      // The layer in chunks is closed without a body. The other one is sent as a whole.
      if (headers['content-length'] !== '2097152') {
        left.push(path.replace(/uploads\/.*digest=/, ''));
        return undefined;
      }
      left.push(path.replace(/\?.*/, ''));
      return { status: 413 };
    },
  };
  expect(seen(await diagnose([edges.central.url]), 'failure')).toEqual([expect.stringMatching(/^push: .* 413/)]);
  expect(left).toEqual([
    expect.stringMatching(/\/blobs\/sha256:[0-9a-f]{64}$/),
    expect.stringMatching(/\/blobs\/uploads\/[^/?]+$/),
  ]);
  for (const path of left) {
    expect((await request(loggedIn(server.current.url, 'alice'), 'GET', path)).status).toBe(404);
  }
});

test('a run that is stopped removes what it has pushed', async () => {
  const stopping = new AbortController();
  let pushed = '';
  edges.central.fault = {
    hold: ({ method, path }) => {
      // The image is pushed by then.
      if (method !== 'HEAD' || !path.includes('/manifests/')) return undefined;
      pushed = /^\/v2\/(\S+)\/manifests/.exec(path)?.[1] ?? '';
      stopping.abort(new Error('stopped'));
      return new Promise(() => {});
    },
  };
  await expect(diagnose([edges.central.url], undefined, stopping.signal)).rejects.toThrow('stopped');
  expect(pushed).toMatch(/^alice\/doctor-/);
  expect(await repositories(server.current)).toEqual([]);
});
