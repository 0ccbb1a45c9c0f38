import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { berth, type Result } from './support/berth.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const descriptor = { mediaType: MANIFEST, digest: `sha256:${'0'.repeat(64)}`, size: 2 };

/** Pulls for docker from a registry that answers everything with one document. */
async function pullOf(document: { readonly mediaType: string }): Promise<Result & { readonly left: string[] }> {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'Content-Type': document.mediaType }).end(JSON.stringify(document));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cwd = await mkdtemp(join(tmpdir(), 'berth-hostile-'));
  onTestFinished(async () => {
    server.close();
    await rm(cwd, { recursive: true });
  });
  const image = `127.0.0.1:${(server.address() as AddressInfo).port}/acme/app:1`;
  const result = await berth(['pull', '--quiet', image, 'docker-archive:app.tar'], { cwd, env: { HOME: cwd } });
  return { ...result, left: await readdir(cwd) };
}

test('a registry cannot write control characters to the terminal', async () => {
  const platform = { os: 'linux\u{1b}[2J\u{9b}31m', architecture: 'none' };
  const { code, stderr } = await pullOf({
    schemaVersion: 2,
    mediaType: INDEX,
    manifests: [{ ...descriptor, platform }],
  } as { mediaType: string });
  expect([code, stderr]).toEqual([2, expect.stringContaining('from linux\u{fffd}[2J\u{fffd}31m/none\n')]);
});

test.each([
  ['an artifact without layers', { mediaType: MANIFEST, config: descriptor }],
  ['an image without a config', { mediaType: MANIFEST, layers: [descriptor] }],
  ['an index without images', { mediaType: INDEX, manifests: [] }],
])('%s is not pulled for docker, and the message says where it can go', async (_, document) => {
  const sent: object = { schemaVersion: 2, ...document };
  const { code, stderr, left } = await pullOf(sent as { mediaType: string });
  const message = expect.stringMatching(/^berth: .* docker can't load it: .* oci:FOLDER\n$/);
  expect([code, stderr, left]).toEqual([1, message, []]);
});
