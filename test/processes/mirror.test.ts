/** Mirrors of registries that people run, in a registry as `npm start` runs it: pulled from, and then without them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  callerAt,
  differencesOf,
  fillWithShapes,
  HOSTS,
  pushDocuments,
  startMirror,
  storedAt,
} from '../support/local/mirrors.ts';
import { loggedIn, request } from '../support/local/push.ts';
import { DEBIAN, distribution as distribution3, LOGIN, startRegistry } from '../support/local/registries.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { removeFolder, startServer, temporaryFolder, until } from '../support/local/server.ts';
import { MemoryUpstream } from '../support/local/upstream.ts';

const server = serverForFile();
let content: MemoryUpstream;
let folder: string;
beforeAll(async () => {
  content = await MemoryUpstream.start();
  folder = await temporaryFolder();
});
afterAll(async () => {
  await content.stop();
  await removeFolder(folder);
});

interface Upstream {
  readonly url: string;
  /** Of its administrator. */
  readonly authorization: string;
  /** The settings of a mirror of it, in addition to its URL. */
  readonly login: object;
  stop(): Promise<void>;
}

async function distribution(program: string, asksForLogin: boolean): Promise<Upstream> {
  const own = await temporaryFolder();
  const running = await startRegistry(program, own, asksForLogin);
  return {
    url: running.url,
    authorization: running.authorization ?? '',
    login: asksForLogin ? { username: LOGIN.user, password: LOGIN.secret } : {},
    stop: async () => {
      await running.stop();
      await removeFolder(own);
    },
  };
}

async function anotherBerth(): Promise<Upstream> {
  const own = await temporaryFolder();
  const berth = await startServer(own);
  return {
    url: `http://localhost:${berth.port}`,
    authorization: loggedIn(berth.url, 'bob').authorization,
    login: { username: 'bob', password: 'bob-dev', prefix: 'bob' },
    stop: async () => {
      await berth.kill();
      await removeFolder(own);
    },
  };
}

const UPSTREAMS: readonly (readonly [string, string, () => Promise<Upstream>])[] = [
  ['Debian’s docker-registry', 'debian', () => distribution(DEBIAN, false)],
  ['Debian’s docker-registry with a login', 'debian-login', () => distribution(DEBIAN, true)],
  ['distribution 3', 'dist3', async () => distribution(await distribution3(), false)],
  ['distribution 3 with a login', 'dist3-login', async () => distribution(await distribution3(), true)],
  ['another Berth', 'berth', anotherBerth],
];

describe.each(UPSTREAMS)('a mirror of %s', (_name, name, start) => {
  let upstream: Upstream;
  const repository = `${name}/app`;
  beforeAll(async () => {
    upstream = await start();
    fillWithShapes(content, repository);
  }, 600_000);
  afterAll(() => upstream.stop());

  const named = (host: string) => `${name}-at-${host}`;
  const push = (from: string) => {
    const { url, authorization, login } = upstream;
    const prefix = 'prefix' in login ? `${String(login.prefix)}/` : '';
    return pushDocuments({ url, authorization }, content, from, `${prefix}app`);
  };

  test('is pulled through central and through a node, and goes on without its upstream', async () => {
    const { current } = server;
    await push(repository);
    const expectSame = async (at: (typeof HOSTS)[number], through: string, from = repository) =>
      expect([at, through, await differencesOf(callerAt(current, at), content, from, `${named(through)}/app`)]).toEqual(
        [at, through, []],
      );
    for (const host of HOSTS) {
      await startMirror(current, named(host), { from: upstream.url, ttl_seconds: 0, ...upstream.login });
      await expectSame(host, host);
      await storedAt(current, host, named(host));
    }

    const tags = [...content.documentsOf(repository).keys()].filter((key) => !key.includes(':')).toSorted();
    for (const host of HOSTS) {
      const read = async (path: string) => (await request(callerAt(current, host), 'GET', path)).json();
      expect(await read(`/v2/${named(host)}/app/tags/list`)).toMatchObject({ tags });
      // The console's page of the repository shows this list.
      const images = `/api/organizations/${named(host)}/repositories/app/images`;
      expect(JSON.stringify(await read(images))).toContain('also-plain');
      expect(await read('/v2/_catalog')).toMatchObject({
        repositories: expect.arrayContaining([`${named(host)}/app`]) as string[],
      });
    }

    // With a ttl of 0, a tag that has moved is seen at once.
    const moved = `${name}/moved`;
    const { digest } = content.image(moved, ['plain'], [2000]);
    await push(moved);
    for (const host of HOSTS) {
      const answer = await request(callerAt(current, host), 'GET', `/v2/${named(host)}/app/manifests/plain`);
      expect([host, answer.headers.get('Docker-Content-Digest')]).toEqual([host, digest]);
      await expectSame(host, host, moved);
      await storedAt(current, host, named(host));
    }

    await upstream.stop();
    const old = content.documentsOf(repository) as Map<string, unknown>;
    old.delete('plain');
    for (const host of HOSTS) {
      for (const through of HOSTS) {
        await expectSame(host, through);
        await expectSame(host, through, moved);
      }
    }
  });
});

test('a tag that has moved is seen after its ttl, and not before', async () => {
  const { current } = server;
  const { digest: first } = content.image('moves', ['1']);
  for (const [organization, seconds] of [
    ['soon', 1],
    ['late', 900],
  ] as const)
    await startMirror(current, organization, { from: content.url, ttl_seconds: seconds });
  const seen = async (organization: string) => {
    const answer = await request(callerAt(current, 'node1'), 'HEAD', `/v2/${organization}/moves/manifests/1`);
    return answer.headers.get('Docker-Content-Digest');
  };
  expect([await seen('soon'), await seen('late')]).toEqual([first, first]);
  const { digest: second } = content.image('moves', ['1']);
  await until(async () => (await seen('soon')) === second);
  expect(await seen('late')).toBe(first);
});
