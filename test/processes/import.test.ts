/** Imports from other registries into a registry as `npm start` runs it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { imageOf, loggedIn, pushImage, request, sha256 } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { berth } from '../cli/support/berth.ts';
import { importsAt } from '../support/local/imports.ts';
import { addPlain, addShapes } from '../support/local/shapes.ts';
import { MemoryUpstream } from '../support/local/upstream.ts';
import { removeFolder, startServer, temporaryFolder, until } from '../support/local/server.ts';

const server = serverForFile();
let upstream: MemoryUpstream;
beforeAll(async () => {
  upstream = await MemoryUpstream.start();
});
afterAll(() => upstream.stop());

const caller = () => loggedIn(server.current.url, 'alice');
const imports = importsAt(() => server.current.url);

/** Imports from the upstream in this process, unless told otherwise. */
const imported = (fields: object) => imports.run({ from: upstream.url, ...fields });

async function read(path: string): Promise<{ status: number; digest: string }> {
  const answer = await request(caller(), 'GET', `/v2/alice/${path}`);
  return { status: answer.status, digest: sha256(Buffer.from(await answer.arrayBuffer())) };
}

/** Compares every manifest of a repository that a tag or another manifest names. */
async function expectSame(repository: string, target = repository): Promise<void> {
  for (const [reference, { digest, bytes }] of upstream.documentsOf(repository)) {
    const answer = await request(caller(), 'GET', `/v2/alice/${target}/manifests/${reference}`);
    expect([reference, answer.status, answer.headers.get('Docker-Content-Digest')]).toEqual([reference, 200, digest]);
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
  }
}

test('an image comes with its digest, and a second import writes nothing', async () => {
  upstream.image('simple/app', ['1', '2'], [1000, 70_000]);
  const report = await imported({ repositories: ['simple/app'] });
  expect(report).toMatchObject({
    state: 'done',
    error: null,
    repositories: { done: 1, total: 1 },
    tags: { done: 2, total: 2 },
    manifests: { copied: 2, present: 0 },
    blobs: { copied: 3 },
    bytes: { done: 71_100, total: 71_100 },
    skipped: 0,
  });
  await expectSame('simple/app');
  const path = '/api/organizations/alice/repositories/simple%2Fapp/images/1/history';
  expect(await (await request(caller(), 'GET', path)).json()).toMatchObject({ history: [{ author: 'alice' }] });
  const before = upstream.requests.length;
  const again = await imported({ repositories: ['simple/app'] });
  expect(again).toMatchObject({ state: 'done', manifests: { copied: 0, present: 2 }, blobs: { copied: 0 } });
  expect(upstream.requests.slice(before).filter((each) => each.startsWith('GET'))).toEqual([
    'GET /v2/simple/app/tags/list?n=1000',
  ]);
});

describe('forty images of all shapes', () => {
  const KILLS = 4;
  const requestsMoreThanOnce = (requests: readonly string[]): string[] =>
    requests.filter((each, i) => requests.indexOf(each) !== i);

  test('survive kill -9, and nothing comes twice', async () => {
    addPlain(upstream, 'shapes', 30);
    addShapes(upstream, 'shapes');
    // Slow enough to be killed in the middle.
    upstream.misbehaves = async ({ url = '' }) => {
      if (url.includes('/blobs/')) await new Promise((done) => setTimeout(done, 40));
      return false;
    };
    upstream.sent.clear();
    upstream.requests.length = 0;
    const report = await imports.start({ from: upstream.url, repositories: ['shapes/*'], referrers: true });
    for (let kill = 1; kill <= KILLS; kill++) {
      const seen = upstream.sent.size;
      while (upstream.sent.size < seen + 10) {
        if ((await imports.look(report)).state !== 'running') break;
      }
      await server.current.kill();
      await server.restart();
    }
    const last = await imports.ended(report);
    upstream.misbehaves = () => false;
    expect(last).toMatchObject({
      state: 'done',
      error: null,
      repositories: { done: 9, total: 9 },
      tags: { done: 37, total: 37 },
      skipped: 0,
    });
    for (const repository of upstream.repositories.filter((name) => name.startsWith('shapes/')))
      await expectSame(repository);
    // A run that is killed loses the blobs under way; of a large blob, it loses only the chunk.
    const twice = [...upstream.sent].filter(([digest, bytes]) => bytes > upstream.content(digest).byteLength);
    expect(twice.length).toBeLessThanOrEqual(KILLS * 3);
    const reread = requestsMoreThanOnce(upstream.requests.filter((each) => /^GET .*manifests\/sha/.test(each)));
    expect(reread.length).toBeLessThanOrEqual(KILLS * 3);
    const bytes = [...upstream.sent.keys()].reduce((sum, digest) => sum + upstream.content(digest).byteLength, 0);
    expect(last.bytes.done).toBe(last.bytes.total);
    expect(last.bytes.done).toBeLessThanOrEqual(bytes);
    // A run that is killed may have stored a blob, and not have counted it.
    expect(last.bytes.done).toBeGreaterThan(bytes - KILLS * 3 * 30_000);
  });
});

test('a large layer goes on after kill -9 with the chunk that was under way', async () => {
  const MEBIBYTE = 1024 ** 2;
  const size = 150 * MEBIBYTE;
  upstream.image('large/app', ['1'], [size]);
  const [digest = ''] = upstream.largestBlobs();
  // Four MiB at a time, so that there is time to kill it.
  let passed = 0;
  upstream.misbehaves = async ({ url = '', headers }, response) => {
    if (!url.endsWith(digest)) return false;
    const [, start = 0, end = size - 1] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    response.writeHead(206, { 'Content-Range': `bytes ${start}-${end}/${size}` });
    for (let at = Number(start); at <= Number(end) && !response.destroyed; at += 4 * MEBIBYTE) {
      const piece = upstream.content(digest).subarray(at, Math.min(at + 4 * MEBIBYTE, Number(end) + 1));
      await new Promise((done) => response.write(piece, done));
      passed += piece.byteLength;
      await new Promise((done) => setTimeout(done, 50));
    }
    response.end();
    return true;
  };
  const report = await imports.start({ from: upstream.url, repositories: ['large/app'] });
  await until(() => passed > 90 * MEBIBYTE);
  expect(await imports.look(report)).toMatchObject({ state: 'running', blobs: { copied: 1 } });
  await server.current.kill();
  await server.restart();
  expect(await imports.ended(report)).toMatchObject({ state: 'done', bytes: { done: size + 100, total: size + 100 } });
  upstream.misbehaves = () => false;
  expect(passed).toBeLessThan(size + 40 * MEBIBYTE);
  await expectSame('large/app');
  expect(await read(`large/app/blobs/${digest}`)).toEqual({ status: 200, digest });
});

test('a layer that outlasts every run is skipped after three of them, and the import goes on', async () => {
  upstream.image('stuck/app', ['1'], [7777]);
  upstream.image('stuck/app', ['2'], [2000]);
  const stuck = upstream.digestOf(7777);
  let asked = 0;
  upstream.misbehaves = ({ url = '' }) => {
    if (!url.endsWith(stuck)) return false;
    asked += 1;
    return true;
  };
  const report = await imports.start({ from: upstream.url, repositories: ['stuck/app'] });
  const isOver = async () => (await imports.look(report)).state !== 'running';
  for (let kill = 1; kill <= 6 && !(await isOver()); kill++) {
    await until(async () => asked >= kill || (await isOver()));
    await server.current.kill();
    await server.restart();
  }
  const last = await imports.ended(report);
  upstream.misbehaves = () => false;
  expect(last).toMatchObject({ state: 'done', tags: { done: 2, total: 2 }, skipped: 1, manifests: { copied: 1 } });
  expect(last.report).toEqual([{ what: 'stuck/app:1', reason: expect.stringContaining('3 runs in a row') as string }]);
  // The first runs may have copied the rest of the image.
  expect(asked).toBeLessThanOrEqual(5);
});

test('platforms that an earlier import left out come with a later one', async () => {
  upstream.index('platforms/app', ['1'], ['linux/amd64', 'linux/arm64', 'linux/s390x']);
  const fields = { repositories: ['platforms/app'] };
  const copied = async (platforms?: readonly string[]) =>
    (await imported({ ...fields, ...(platforms && { platforms }) })).manifests;
  expect(await copied(['linux/amd64'])).toEqual({ copied: 2, present: 0 });
  expect(await copied(['linux/amd64'])).toEqual({ copied: 0, present: 1 });
  expect(await copied(['linux/arm64'])).toEqual({ copied: 1, present: 1 });
  expect(await copied()).toEqual({ copied: 1, present: 3 });
  await expectSame('platforms/app');
});

test('a dry run counts what an import would copy, and copies nothing', async () => {
  upstream.image('dry/app', ['1', '2'], [1000, 5000]);
  upstream.index('dry/app', ['multi'], ['linux/amd64', 'linux/arm64', 'linux/s390x']);
  const fields = { repositories: ['dry/app'], platforms: ['linux/arm64'] };
  const counted = {
    state: 'done',
    tags: { done: 3, total: 3 },
    blobs: { copied: 5 },
    bytes: { done: 7200, total: 7200 },
  };
  const dry = await imported({ ...fields, dry_run: true });
  expect(dry).toMatchObject(counted);
  expect(dry.manifests.copied).toBe(4);
  expect((await read('dry/app/tags/list')).status).toBe(404);
  const made = await imported(fields);
  expect(made).toMatchObject({ ...counted, skipped: 0 });
  expect(made.manifests.copied).toBe(4);
  const { digest } = upstream.documentsOf('dry/app').get('multi') ?? {};
  expect(await read('dry/app/manifests/multi')).toEqual({ status: 200, digest });
});

test('a cancelled import ends, and its copies stay', async () => {
  for (let i = 0; i < 20; i++) upstream.image('cancelled/app', [`t${10 + i}`], [1000]);
  const first = upstream.documentsOf('cancelled/app').get('t10');
  let asked = 0;
  upstream.misbehaves = async ({ url = '' }) => {
    if (url.includes('/blobs/')) asked += 1;
    if (asked > 6) await new Promise((done) => setTimeout(done, 300));
    return false;
  };
  const report = await imports.start({ from: upstream.url, repositories: ['cancelled/app'] });
  await until(() => asked > 8);
  expect(await imports.cancel(report)).toMatchObject({ state: 'cancelled' });
  const { tags } = await imports.look(report);
  expect(tags.done).toBeLessThan(10);
  const before = upstream.requests.length;
  upstream.misbehaves = () => false;
  await imported({ repositories: ['simple/app'] });
  expect(upstream.requests.slice(before).some((each) => each.includes('cancelled'))).toBe(false);
  expect((await read('cancelled/app/manifests/t10')).digest).toBe(first?.digest);
  expect(await imports.look(report)).toMatchObject({ state: 'cancelled', error: null, tags });
});

test('an image that this registry refuses is skipped with the reason, and the others are copied', async () => {
  const V1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
  upstream.document('refused/app', V1, { schemaVersion: 1, name: 'refused/app', fsLayers: [] }, ['a-old']);
  upstream.image('refused/app', ['b-new']);
  const report = await imported({ repositories: ['refused/app'] });
  expect(report).toMatchObject({ state: 'done', tags: { done: 2, total: 2 }, skipped: 1 });
  expect(report.report).toEqual([
    { what: 'refused/app:a-old', reason: 'Docker schema 1 manifests are not supported: push with a newer client' },
  ]);
  expect((await read('refused/app/manifests/b-new')).status).toBe(200);
});

test('another Berth can be imported from with a login, and not without one', async () => {
  const folder = await temporaryFolder();
  const other = await startServer(folder);
  try {
    const image = imageOf(1000, 50_000);
    await pushImage(loggedIn(other.url, 'bob'), 'bob/private', '1', image);
    const from = { from: `http://localhost:${other.port}`, repositories: ['bob/*'], as: 'from/*' };
    const refused = await imports.run(from);
    expect(refused).toMatchObject({ state: 'failed', error: expect.stringContaining('status 401') as string });
    const report = await imports.run({ ...from, credential: { user: 'bob', secret: 'bob-dev' } });
    expect(report).toMatchObject({ state: 'done', tags: { done: 1 }, blobs: { copied: 3 }, skipped: 0 });
    expect(await read('from/bob/private/manifests/1')).toEqual({ status: 200, digest: image.digest });
  } finally {
    await other.kill();
    await removeFolder(folder);
  }
});

test('berth import waits for the end, and says what was copied and skipped', async () => {
  upstream.image('cli/app', ['1', '2'], [1000]);
  const host = `127.0.0.1:${server.current.port}`;
  const env = { BERTH_HOST: host, BERTH_USERNAME: 'alice', BERTH_PASSWORD: 'alice-dev', DOCKER_CONFIG: server.folder };
  const run = (...args: string[]) => berth(args, { env });
  const copied = await run('import', 'alice', upstream.url, 'cli/app', '--as', 'by-cli');
  expect(copied).toMatchObject({
    code: 0,
    stdout:
      'done: 2 of 2 tags of 1 repositories\n' +
      'copied 2 manifests and 2 blobs, 1.1 kB\n' +
      '0 manifests and 0 blobs are there already\n',
  });
  const skipped = await run('import', 'alice', upstream.url, 'cli/app', '--tag', '1', '9', '--dry-run', '--json');
  expect(skipped).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('repositories and images skipped: 1. See above'),
  });
  const { id } = JSON.parse(skipped.stdout) as { id: string };
  expect((await run('imports', 'alice', id)).stdout).toContain('skipped cli/app:9: the upstream has no such tag\n');
  expect((await run('imports', 'alice')).stdout).toMatch(new RegExp(`^${id} +done`, 'm'));
  const inStep = await run(
    'import',
    'alice',
    upstream.url,
    'cli/app',
    '--as',
    'by-cli',
    '--every',
    '1h',
    '--prune',
    '--json',
  );
  expect(inStep).toMatchObject({ code: 0 });
  const kept = JSON.parse(inStep.stdout) as { id: string; state: string };
  expect(kept.state).toBe('waiting');
  expect((await run('imports', 'alice', kept.id)).stdout).toMatch(/^removed 0 tags\nruns again at /m);
  expect((await run('imports', 'alice', kept.id, '--cancel')).stdout).toMatch(/^cancelled: /);
  const secretless = await run('import', 'alice', 'hub', 'a*');
  expect(secretless).toMatchObject({ code: 1, stderr: expect.stringContaining('name each of them in full') });
});
