/** Pushes to nodes that go on to Debian's registry, while it and Berth are killed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { comparePull, imageOf, type LocalImage, loggedIn, pushImage, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { removeFolder, temporaryFolder, until } from '../support/local/server.ts';
import { DEBIAN, LOGIN, type OtherRegistry, pushTo, startRegistry } from '../support/local/registries.ts';

const IMAGES = 100;

const server = serverForFile();
let folder: string;
let upstream: OtherRegistry;

beforeAll(async () => {
  folder = await temporaryFolder();
  upstream = await startRegistry(DEBIAN, folder, true);
  const seed = imageOf(100);
  await pushTo(upstream, 'seed', '1', seed);
  await request(loggedIn(server.current.url, 'admin'), 'PUT', '/api/organizations/alice/mirror', {
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      from: upstream.url,
      username: LOGIN.user,
      password: LOGIN.secret,
      pushes: 'forwarded',
      ttl_seconds: 0,
    }),
  });
  // The node has heard of it once it pulls.
  await until(async () => (await request(node(), 'GET', '/v2/alice/seed/manifests/1')).ok);
});

afterAll(async () => {
  await upstream.stop();
  await removeFolder(folder);
});

const node = () => loggedIn(server.current.nodes[0]?.url ?? '', 'alice');

interface Status {
  readonly pushes: Record<'pending' | 'announced' | 'settled' | 'parked', number>;
  readonly parked: readonly object[];
}

async function status(): Promise<Status> {
  return (await request(node(), 'GET', '/api/organizations/alice/mirror/status')).json() as Promise<Status>;
}

async function digestAtUpstream(repository: string, tag: string): Promise<string | null> {
  const headers = {
    Accept: 'application/vnd.oci.image.manifest.v1+json',
    Authorization: upstream.authorization ?? '',
  };
  const answer = await fetch(`${upstream.url}/v2/${repository}/manifests/${tag}`, { method: 'HEAD', headers });
  return answer.headers.get('Docker-Content-Digest');
}

test(`${IMAGES} images reach the upstream, although it and Berth are killed in between`, async () => {
  const images: LocalImage[] = [];
  const port = Number(new URL(upstream.url).port);
  for (let i = 0; i < IMAGES; i += 1) {
    if (i === 20) {
      await until(async () => (await status()).pushes.settled > 0);
      await upstream.stop('SIGKILL');
    }
    if (i === 40 || i === 80) {
      await server.current.kill();
      await server.restart();
    }
    if (i === 60) {
      const { pushes } = await status();
      expect(pushes.pending).toBeGreaterThanOrEqual(40);
      expect([pushes.parked, pushes.pending + pushes.announced + pushes.settled]).toEqual([0, 60]);
      // Images that wait are pulled as they were pushed.
      for (const waiting of [30, 50])
        await comparePull(node(), `alice/app${waiting % 7}`, `t${waiting}`, images[waiting] ?? imageOf());
      upstream = await startRegistry(DEBIAN, folder, true, port);
    }
    const image = imageOf(1000 + i, 50_000);
    images.push(image);
    await pushImage(node(), `alice/app${i % 7}`, `t${i}`, image);
  }
  await until(async () => (await status()).pushes.settled === IMAGES);
  expect(await status()).toMatchObject({ pushes: { pending: 0, announced: 0, parked: 0 }, parked: [] });
  for (const [i, { digest }] of images.entries())
    expect([i, await digestAtUpstream(`app${i % 7}`, `t${i}`)]).toEqual([i, digest]);
  for (const i of [0, 30, 99]) await comparePull(node(), `alice/app${i % 7}`, `t${i}`, images[i] ?? imageOf());
});

test('a large layer goes up in chunks', async () => {
  const image = imageOf(80 * 1024 ** 2);
  await pushImage(node(), 'alice/large', '1', image);
  await until(async () => (await digestAtUpstream('large', '1')) === image.digest);
});

test('a deletion that the upstream refuses is refused, and nothing is deleted', async () => {
  const image = imageOf(1000);
  await pushImage(node(), 'alice/kept', '1', image);
  await until(async () => (await digestAtUpstream('kept', '1')) === image.digest);
  const answer = await request(node(), 'DELETE', `/v2/alice/kept/manifests/${image.digest}`);
  expect([answer.status, await answer.text()]).toEqual([405, expect.stringContaining('UNSUPPORTED')]);
  await comparePull(node(), 'alice/kept', '1', image);
});
