/** Nodes and central run in one process, which the tests kill. All acknowledged pushes still reach central. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import {
  type Caller,
  comparePull,
  imageOf,
  loggedIn,
  type LocalImage,
  putManifest,
  pushSteps,
  request,
  sha256,
} from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();
const MIB = 1024 * 1024;
const PARTS = 38;
/**
 * The longest wait for the first parts. The whole test may take four times as long, because it writes 300 MiB several
 * times.
 */
const LONGEST_MILLISECONDS = 100_000;

const alice = (host: 'central' | 'node1' | 'node2'): Caller => {
  const url = host === 'central' ? server.current.url : server.current.nodes.find(({ name }) => name === host)?.url;
  return loggedIn(url ?? '', 'alice');
};

interface CopiedPart {
  readonly copying: string;
  readonly key: string;
  readonly part: number;
  readonly of: number;
}

/** Returns the log's entries about a large copy, from the entry `start` on. */
async function partsCopied(digest: string, start = 0): Promise<CopiedPart[]> {
  const log = await readFile(join(server.folder, 'log.jsonl'), 'utf8').catch(() => '');
  return log
    .split('\n')
    .filter((line) => line.includes(`"copying":"${digest}"`) && line.endsWith('}'))
    .map((line) => JSON.parse(line) as CopiedPart)
    .slice(start);
}

interface ImageState {
  readonly state: string;
  readonly blobs: { readonly copied: number; readonly total: number };
}

/** Waits for a final state, and returns it. */
async function stateOf(caller: Caller, repository: string, reference: string): Promise<ImageState> {
  const [organization, name] = repository.split('/');
  const path = `/api/organizations/${organization}/repositories/${name}/images/${reference}?wait=60`;
  return (await (await request(caller, 'GET', path)).json()) as ImageState;
}

async function pushLarge(caller: Caller, repository: string, tag: string, image: LocalImage): Promise<void> {
  for (const blob of image.blobs) {
    const path = `/v2/${repository}/blobs/uploads/?digest=${sha256(blob)}`;
    const { status } = await request(caller, 'POST', path, { body: new Uint8Array(blob) });
    expect(status).toBe(201);
  }
  await putManifest(caller, repository, tag, image);
}

test(
  'a large copy to central that is killed in the middle continues with the next part',
  { timeout: 4 * LONGEST_MILLISECONDS },
  async () => {
    const image = imageOf(300 * MIB);
    const layer = sha256(image.blobs[1] ?? randomBytes(0));
    await pushLarge(alice('node1'), 'alice/large', 'latest', image);
    await vi.waitUntil(async () => (await partsCopied(layer)).length >= 3, {
      timeout: LONGEST_MILLISECONDS,
      interval: 20,
    });
    await server.current.kill();
    const before = await partsCopied(layer);
    await server.restart();
    expect(await stateOf(alice('node1'), 'alice/large', 'latest')).toMatchObject({
      state: 'settled',
      blobs: { copied: 2, total: 2 },
    });
    const after = await partsCopied(layer, before.length);
    // All parts belong to one multipart upload, and only the part whose progress was lost in the crash is copied twice.
    expect(new Set([...before, ...after].map(({ key }) => key)).size).toBe(1);
    expect(new Set([...before, ...after].map(({ part, of }) => `${part} of ${of}`)).size).toBe(PARTS);
    expect(before.length).toBeLessThan(PARTS);
    expect(after[0]?.part).toBeGreaterThanOrEqual(before.length);
    await comparePull(alice('central'), 'alice/large', 'latest', image);
  },
);

test('three hosts that are killed and restarted keep everything', async () => {
  const hosts = ['central', 'node1', 'node2'] as const;
  const images = await Promise.all(
    hosts.map(async (host, i) => {
      const image = imageOf(1000 * (i + 1), 50_000);
      for (const step of pushSteps('alice/kept', host, image)) await step.run(alice(host));
      return { host, image };
    }),
  );
  const deleted = imageOf(500);
  for (const step of pushSteps('alice/kept', 'deleted', deleted)) await step.run(alice('node2'));
  expect((await request(alice('node1'), 'DELETE', `/v2/alice/kept/manifests/${deleted.digest}`)).status).toBe(202);
  await server.current.kill();
  await server.restart();
  for (const { host, image } of images) {
    expect(await stateOf(alice(host), 'alice/kept', host)).toMatchObject({ state: 'settled' });
    for (const other of hosts) await comparePull(alice(other), 'alice/kept', host, image);
  }
  for (const host of hosts) {
    expect((await request(alice(host), 'GET', '/v2/alice/kept/manifests/deleted')).status).toBe(404);
    const tags = await request(alice(host), 'GET', '/v2/alice/kept/tags/list');
    expect(await tags.json()).toEqual({ name: 'alice/kept', tags: ['central', 'node1', 'node2'] });
  }
});
