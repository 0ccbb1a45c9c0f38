import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Surroundings } from './surroundings.ts';
import type { Client, Image } from './clients/client.ts';
import type { Regctl } from './clients/regctl.ts';
import { passwordOf, same, succeeded } from './expectations.ts';
import { withFront } from './front.ts';
import { blobSizes, differences } from './images/layout.ts';
import { requestsDuring, uploadedBlobs } from './request-log.ts';

/** The size that the registry asks for in `OCI-Chunk-Min-Length`. */
const LEAST_CHUNK = 8 * 1024 ** 2;
/** The largest request body that Cloudflare's Free and Pro plans let through. */
const EDGE_LIMIT = 100_000_000;

/**
 * Checks chunked uploads. Only regctl sends a blob in several requests: on request, or after a whole blob was refused.
 */
export async function checkChunks(regctl: Regctl, surroundings: Surroundings): Promise<void> {
  const { registry, images, checks } = surroundings;
  const { unikraft, large } = images;

  await checks.check('regctl: each blob is sent whole, in one request, unless something refuses it', async () => {
    const { chunks, blobs } = await pushAndPull(
      regctl.at(registry.host, 'regctl-whole'),
      unikraft,
      'whole',
      surroundings,
    );
    const expected = (await blobSizes(unikraft.layout)).length;
    if (chunks !== 0 || blobs !== expected) throw new Error(`${chunks} chunks, ${blobs} blobs of ${expected}`);
    return `${blobs} blobs`;
  });
  await checks.check(
    'regctl: told to send 1 MiB at a time, it sends the 8 MiB that the registry asks for',
    async () => {
      const chunking = regctl.at(registry.host, 'regctl-chunks', '--blob-max', '1', '--blob-chunk', String(1024 ** 2));
      const { chunks: sent } = await pushAndPull(chunking, unikraft, 'chunks', surroundings);
      const expected = await chunksOf(unikraft, 1);
      if (sent !== expected) throw new Error(`${sent} chunks, not ${expected}`);
      return `${sent} chunks`;
    },
  );

  await withFront(registry, { limit: EDGE_LIMIT, refusesAfterBody: true }, async (front) => {
    const behind = regctl.at(front.host, 'regctl-front', '--blob-max', '-1');
    await checks.check('regctl: a layer above 100 MB passes a front that refuses it', async () => {
      const { chunks: sent } = await pushAndPull(behind, large, 'front', surroundings);
      const expected = await chunksOf(large, EDGE_LIMIT);
      if (sent !== expected) throw new Error(`${sent} chunks, not ${expected}`);
      const whole = (await blobSizes(large.layout)).filter((size) => size > EDGE_LIMIT).map((size) => `PUT ${size}`);
      same([...new Set(front.refused)], whole);
      if (front.largest() > LEAST_CHUNK) throw new Error(`a chunk had ${front.largest()} bytes`);
      return `413, then ${sent} chunks`;
    });
    const told = regctl.at(front.host, 'regctl-told', '--blob-max', '50000000', '--blob-chunk', '50000000');
    await checks.check('regctl: told the size of its chunks, it is never refused', async () => {
      const before = front.refused.length;
      const { chunks: sent } = await pushAndPull(told, large, 'told', surroundings);
      if (front.refused.length > before) throw new Error(`the front refused ${front.refused.slice(before).join()}`);
      if (front.largest() !== 50_000_000) throw new Error(`the largest had ${front.largest()} bytes`);
      return `${sent} chunks`;
    });
  });
}

/**
 * Pushes, pulls and compares, and returns how many chunks and blobs the registry received. The user is bob, and what he
 * pushed is deleted. Otherwise regctl would ask for a mount from a repository that he may pull, and then send nothing.
 */
async function pushAndPull(
  client: Client,
  image: Image,
  name: string,
  { registry }: Surroundings,
): Promise<{ readonly chunks: number; readonly blobs: number }> {
  const repository = `bob/${name}`;
  succeeded(await client.login('bob', passwordOf('bob')));
  const layout = join(registry.directory, 'pulled-chunks');
  try {
    const requests = await requestsDuring(registry, async () =>
      succeeded((await client.push('bob', image, `${repository}:v1`)).result),
    );
    succeeded(await client.pull('bob', image, `${repository}:v1`, layout));
    const found = await differences(image.layout, layout);
    if (found.length > 0) throw new Error(found.join('\n'));
    const chunks = requests.filter(
      (request) => request.repository === repository && request.method === 'PATCH' && request.status === 202,
    );
    return { chunks: chunks.length, blobs: uploadedBlobs(requests, repository).length };
  } finally {
    await rm(layout, { recursive: true, force: true });
    await fetch(`http://${registry.host}/api/organizations/bob/repositories/${name}`, {
      method: 'DELETE',
      headers: { Authorization: `Basic ${btoa(`bob:${passwordOf('bob')}`)}` },
    });
  }
}

/** Returns how many chunks an image's blobs of more than `threshold` bytes need. */
async function chunksOf({ layout }: Image, threshold: number): Promise<number> {
  const sizes = (await blobSizes(layout)).filter((size) => size > threshold);
  return sizes.reduce((chunks, size) => chunks + Math.ceil(size / LEAST_CHUNK), 0);
}
