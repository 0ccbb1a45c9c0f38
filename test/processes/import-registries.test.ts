/** Imports of images of all shapes from other registries, while this one is killed again and again. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { importsAt, type Report } from '../support/local/imports.ts';
import { imageOf, loggedIn, request } from '../support/local/push.ts';
import {
  DEBIAN,
  type Destination,
  distribution,
  LOGIN,
  type OtherRegistry,
  pushAll,
  pushTo,
  startRegistry,
} from '../support/local/registries.ts';
import { removeFolder, startServer, temporaryFolder } from '../support/local/server.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { addPlain, addShapes, SHAPES } from '../support/local/shapes.ts';
import { MemoryUpstream } from '../support/local/upstream.ts';

const IMAGES = 200;
const SETS = 10;
const KILLS = 10;
const MINUTE = 60_000;
/** A login that the upstream takes. */
interface Login {
  readonly user: string;
  readonly secret: string;
}

const server = serverForFile();
const imports = importsAt(() => server.current.url);
const folders: string[] = [];
const folder = async (): Promise<string> => {
  const made = await temporaryFolder();
  folders.push(made);
  return made;
};

/** The images, from which the registries are filled. */
let images: MemoryUpstream;
beforeAll(async () => {
  images = await MemoryUpstream.start();
  addPlain(images, 'shapes', IMAGES - SETS * SHAPES);
  for (let i = 0; i < SETS; i++) addShapes(images, 'shapes', `${i}`);
});
afterAll(async () => {
  await images.stop();
  for (const each of folders) await removeFolder(each);
});

describe.each<[string, string, Login, boolean, () => Promise<OtherRegistry>]>([
  [
    'another Berth',
    'bob',
    { user: 'bob', secret: 'bob-dev' },
    true,
    async () => {
      const other = await startServer(await folder());
      return { ...loggedIn(`http://localhost:${other.port}`, 'bob'), stop: () => other.kill() };
    },
  ],
  ['distribution 3', 'team', LOGIN, false, async () => startRegistry(await distribution(), await folder(), true)],
])('200 images of %s', (_name, prefix, credential, isNew, start) => {
  let other: OtherRegistry;
  beforeAll(async () => {
    other = await start();
    await pushAll(images, other, (repository) => `${prefix}/${repository}`, isNew);
  }, 30 * MINUTE);
  afterAll(() => other.stop());

  test(
    'come whole, and nothing twice, although the import is killed ten times',
    async () => {
      const fields = { from: other.url, repositories: [`${prefix}/*`], referrers: true, credential };
      const started = await imports.start(fields);
      for (let kill = 1; kill <= KILLS; kill++) {
        const seen = await reaches(started, (kill * IMAGES) / (KILLS + 2));
        expect([kill, seen.state]).toEqual([kill, 'running']);
        await server.current.kill();
        await server.restart();
      }
      const last = await imports.ended(started);
      expect(last).toMatchObject({ state: 'done', error: null, skipped: 0, report: [] });
      expect(last.tags.done).toBe(last.tags.total);
      expect(last.tags.total).toBeGreaterThanOrEqual(IMAGES);
      await expectSame(other, prefix);
      const again = await imports.run(fields);
      expect(again).toMatchObject({ state: 'done', manifests: { copied: 0 }, blobs: { copied: 0 }, skipped: 0 });
    },
    10 * MINUTE,
  );

  /** Waits until an import has done this many tags, or has ended. */
  async function reaches(report: Report, tags: number): Promise<Report> {
    for (;;) {
      const seen = await imports.look(report);
      if (seen.state !== 'running' || seen.tags.done >= tags) return seen;
    }
  }
});

/** Compares every manifest, and that each tag was set once. */
async function expectSame(other: Destination, prefix: string): Promise<void> {
  const caller = loggedIn(server.current.url, 'alice');
  const there = { url: other.url, authorization: other.authorization ?? '' };
  for (const repository of images.repositories) {
    const name = `${prefix}/${repository}`;
    for (const [reference, { mediaType }] of images.documentsOf(repository)) {
      const headers = { Accept: mediaType };
      const [theirs, ours] = await Promise.all([
        request(there, 'GET', `/v2/${name}/manifests/${reference}`, { headers }),
        request(caller, 'GET', `/v2/alice/${name}/manifests/${reference}`, { headers }),
      ]);
      if (reference.startsWith('sha512:') && theirs.status === 404) continue;
      const digest = theirs.headers.get('Docker-Content-Digest');
      expect([reference, ours.status, ours.headers.get('Docker-Content-Digest')]).toEqual([reference, 200, digest]);
      expect(await ours.text()).toBe(await theirs.text());
      if (reference.includes(':')) continue;
      const path = `/api/organizations/alice/repositories/${encodeURIComponent(name)}/images/${reference}/history`;
      const { history } = (await (await request(caller, 'GET', path)).json()) as { history: object[] };
      expect([reference, history.length]).toEqual([reference, 1]);
    }
  }
}

describe.each<[string, () => Promise<string>]>([
  ["Debian's registry", async () => DEBIAN],
  ['distribution 3', distribution],
])('%s', (name, program) => {
  const target = name.replaceAll(/\W/g, '').toLowerCase();
  let open: OtherRegistry;
  let closed: OtherRegistry;
  beforeAll(async () => {
    open = await startRegistry(await program(), await folder());
    closed = await startRegistry(await program(), await folder(), true);
  }, 30 * MINUTE);
  afterAll(async () => {
    await open.stop();
    await closed.stop();
  });

  test('is imported by pattern', async () => {
    const image = imageOf(1000, 2_000_000);
    for (const repository of ['team/a', 'team/b', 'other/c']) {
      for (const tag of ['v1', 'v2', 'test']) await pushTo(open, repository, tag, image);
    }
    const report = await imports.run({ from: open.url, repositories: ['team/*'], tags: ['v*'], as: `${target}/*` });
    expect(report).toMatchObject({
      state: 'done',
      repositories: { done: 2, total: 2 },
      tags: { done: 4, total: 4 },
      blobs: { copied: 3 },
      bytes: { done: 2_001_200 },
      skipped: 0,
    });
    const caller = loggedIn(server.current.url, 'alice');
    const statusOf = async (path: string) => {
      const answer = await request(caller, 'HEAD', `/v2/alice/${target}/${path}`);
      return [answer.status, answer.headers.get('Docker-Content-Digest')];
    };
    for (const repository of ['team/a', 'team/b']) {
      expect(await statusOf(`${repository}/manifests/v2`)).toEqual([200, image.digest]);
      expect(await statusOf(`${repository}/manifests/test`)).toEqual([404, null]);
    }
    expect(await statusOf('other/c/manifests/v1')).toEqual([404, null]);
  });

  test('is imported from with its login, and not without it', async () => {
    await pushTo(closed, 'team/private', '1', imageOf(1000));
    const fields = { from: closed.url, repositories: ['team/private'], tags: ['1'], as: `${target}/private` };
    expect(await imports.run(fields)).toMatchObject({
      state: 'done',
      report: [{ what: 'team/private:1', reason: expect.stringContaining('status 401') as string }],
    });
    const wrong = { ...fields, credential: { ...LOGIN, secret: 'wrong' } };
    expect(await imports.run(wrong)).toMatchObject({ state: 'done', skipped: 1 });
    expect(await imports.run({ ...fields, credential: LOGIN })).toMatchObject({ state: 'done', skipped: 0 });
  });
});
