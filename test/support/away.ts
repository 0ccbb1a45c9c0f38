/** Pulls and pushes at {@link ThreeHosts} while some part may be away, and checks of the answers. */
import { env } from 'cloudflare:workers';
import { expect } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import type { Image } from './fixture.ts';
import { type Answered, type HostName, ORIGINS, type ThreeHosts } from './three-hosts.ts';

export const REPOSITORY = 'alice/app';
export const HOST_NAMES = Object.keys(ORIGINS) as HostName[];

export const pathsOf = (image: Image, tag = 'latest'): string[] =>
  [
    `manifests/${tag}`,
    `manifests/${image.digest}`,
    ...image.manifest.requiredBlobs.map((digest) => `blobs/${digest}`),
  ].map((path) => `/v2/${REPOSITORY}/${path}`);

/** Describes the answer; undefined if it is a 503 that tells an OCI client to come back. */
export function wrongRefusal({ status, headers, code, bytes }: Answered): string | undefined {
  const right =
    status === 503 && /^[1-9]\d*$/.test(headers.get('Retry-After') ?? '') && (code ?? 'UNAVAILABLE') === 'UNAVAILABLE';
  return right ? undefined : `${status} ${code} ${new TextDecoder().decode(bytes)}`;
}

/** Asks for every part of the image with GET and HEAD. Returns 200, 503, or a wrong answer, for each request. */
export async function pulls(
  hosts: ThreeHosts,
  host: HostName,
  image: Image,
  tag?: string,
): Promise<(number | string)[]> {
  const answers: (number | string)[] = [];
  for (const path of pathsOf(image, tag)) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await hosts.call(host, method, path, { as: 'aliceReader' });
      if (answer.status === 200 && method === 'GET' && path.includes('sha256:')) {
        expect(path.endsWith(await digestOf('sha256', Uint8Array.from(answer.bytes)))).toBe(true);
      }
      answers.push(answer.status === 200 ? 200 : (wrongRefusal(answer) ?? 503));
    }
  }
  return answers;
}

/** Returns what {@link pulls} returns if every request has this status. */
export const all = (image: Image, status: number): number[] => pathsOf(image).flatMap(() => [status, status]);

/** Returns the image's state, as the state API says it. */
export async function stateAt(hosts: ThreeHosts, host: HostName, tag = 'latest'): Promise<unknown> {
  const { bytes } = await hosts.call(host, 'GET', `/api/organizations/alice/repositories/app/images/${tag}`);
  return (JSON.parse(new TextDecoder().decode(bytes)) as { state: unknown }).state;
}

/** Gives back everything that is away, and checks that the image then settles and is whole at every host. */
export async function requireSettledEverywhere(
  hosts: ThreeHosts,
  image: Image,
  { tag = 'latest', pushedAt = 'node1' }: { tag?: string; pushedAt?: HostName } = {},
): Promise<void> {
  hosts.giveBack();
  await hosts.drain();
  expect(await stateAt(hosts, pushedAt, tag)).toBe('settled');
  for (const host of HOST_NAMES) expect([host, await pulls(hosts, host, image, tag)]).toEqual([host, all(image, 200)]);
}

/** Returns the number of node1's outbox entries. */
export async function outboxEntries(): Promise<number> {
  const { results } = await env.DB_NODE1!.prepare('SELECT key FROM outbox').all();
  return results.length;
}

/** Pushes an image to node1 and announces it. Central knows it, but lacks its bytes. */
export async function announced(hosts: ThreeHosts, seed: number, tag = 'latest'): Promise<Image> {
  const image = await hosts.push('node1', REPOSITORY, seed, tag);
  await hosts.announce();
  return image;
}

/** Pushes an image to node1 and copies it up, so that central has all of it. */
export async function settled(hosts: ThreeHosts, seed: number, tag = 'latest'): Promise<Image> {
  const image = await announced(hosts, seed, tag);
  await hosts.drain();
  return image;
}
