import { beforeEach, expect, test } from 'vitest';
import { BodyLimit } from '../../src/oci-client/body-limit.ts';
import { type BlobEnd, copyImage, type CopyProgress } from '../../src/oci-client/copy-image.ts';
import { RegistryDestination, RegistrySource } from '../../src/oci-client/registry-image.ts';
import { Repository } from '../../src/oci-client/repository.ts';
import { addUsers, call } from '../support/client.ts';
import { putBlob, putImage, putManifest } from '../support/content.ts';
import { bytesOf, descriptorOf, type Image, imageOf, indexOf } from '../support/fixture.ts';
import { hostOf, type Interference, wired } from './support.ts';

beforeEach(addUsers);

class Recorded implements CopyProgress {
  readonly ends: BlobEnd[] = [];
  blobs = 0;
  readonly planned = (blobs: readonly unknown[]): void => void (this.blobs = blobs.length);
  readonly bytes = (): void => undefined;
  readonly ended = (_digest: unknown, how: BlobEnd): void => void this.ends.push(how);
}

interface Copy {
  readonly from?: string;
  readonly to?: string;
  /** Null for none. */
  readonly tag?: string | null;
  readonly referrers?: boolean;
  readonly mountFrom?: string;
  readonly interfere?: Interference;
}

async function copy({ from = 'latest', to = 'alice/copy', tag = 'copied', referrers = false, ...rest }: Copy = {}) {
  const wire = wired(rest.interfere);
  const abort = new AbortController();
  const source = new Repository(hostOf(wired()), 'alice/app', 'pull', abort.signal);
  const root = await source.getManifest(from);
  if (root === undefined) throw new Error(`there is no ${from}`);
  const progress = new Recorded();
  const destination = new RegistryDestination(new Repository(hostOf(wire), to, 'push', abort.signal), {
    limit: BodyLimit.unknown(),
    mountFrom: rest.mountFrom,
  });
  await copyImage(new RegistrySource(source), destination, root, {
    tag: tag ?? undefined,
    referrers,
    jobs: 3,
    abort,
    progress,
  });
  return { wire, progress, root };
}

const writes = ({ sent }: ReturnType<typeof wired>): string[] =>
  sent
    .filter(({ method }) => method === 'PUT')
    .map(({ url }) => url.pathname.replace(/.*\/(blobs|manifests)\/.*/, '$1'));
const tagged = async (reference: string, repository = 'alice/copy') =>
  (await call('HEAD', `/v2/${repository}/manifests/${reference}`, { as: 'alice' })).headers.get(
    'Docker-Content-Digest',
  );

test('blobs come before their manifest, and the tag last', async () => {
  const image = await putImage('alice/app', 1, ['latest']);
  const { wire, progress } = await copy();
  expect(writes(wire)).toEqual(['blobs', 'blobs', 'manifests']);
  expect([progress.blobs, progress.ends]).toEqual([2, ['done', 'done']]);
  expect(await tagged('copied')).toBe(image.digest);
});

test('an index is copied after its children, and then tagged', async () => {
  const children = [await putImage('alice/app', 1, []), await putImage('alice/app', 5, [])];
  const index = await indexOf(children.map(({ digest }) => digest));
  await putManifest('alice/app', 'latest', index);
  const { wire } = await copy();
  expect(await tagged('copied')).toBe(index.digest);
  const manifests = wire.sent.filter(({ method, url }) => method === 'PUT' && url.pathname.includes('/manifests/'));
  const names = manifests.map(({ url }) => url.pathname.split('/').at(-1));
  expect(names.slice(0, 2).toSorted()).toEqual(children.map(({ digest }) => digest).toSorted());
  expect(names[2]).toBe('copied');
});

test('blobs that the destination has are not sent again', async () => {
  await putImage('alice/app', 1, ['latest']);
  await copy();
  const { wire, progress } = await copy({ tag: 'again' });
  expect(writes(wire)).toEqual(['manifests']);
  expect(progress.ends).toEqual(['exists', 'exists']);
});

test('within a registry, blobs are mounted', async () => {
  await putImage('alice/app', 1, ['latest']);
  const { wire, progress } = await copy({ mountFrom: 'alice/app' });
  expect(writes(wire)).toEqual(['manifests']);
  expect(progress.ends).toEqual(['mounted', 'mounted']);
});

test('an image without a tag is copied as one without a tag', async () => {
  const image = await putImage('alice/app', 1, ['latest']);
  await copy({ tag: null });
  expect(await tagged(image.digest)).toBe(image.digest);
  const tags = await call('GET', '/v2/alice/copy/tags/list', { as: 'alice' });
  expect(await tags.json()).toMatchObject({ tags: [] });
});

/** Pushes a signature of an image, and a signature of that one. @returns the digests of both signatures */
async function putSignatures(subject: Image): Promise<string[]> {
  const signature = await putSignature(subject, 20);
  const second = await putSignature(signature, 21);
  return [signature.digest, second.digest];
}

async function putSignature({ digest, manifest }: Image, seed: number): Promise<Image> {
  const config = await putBlob('alice/app', bytesOf(seed, 2));
  const image = await imageOf(config, [], { subject: descriptorOf(digest, manifest.mediaType) });
  await putManifest('alice/app', image.digest, image);
  return image;
}

test('referrers, and those of referrers, are copied if they are asked for', async () => {
  const signatures = await putSignatures(await putImage('alice/app', 1, ['latest']));
  await copy();
  expect(await Promise.all(signatures.map((each) => tagged(each)))).toEqual([null, null]);
  await copy({ referrers: true });
  expect(await Promise.all(signatures.map((each) => tagged(each)))).toEqual(signatures);
});

test('a registry without the referrers API gets their list under a tag, which is read as well', async () => {
  const image = await putImage('alice/app', 1, ['latest']);
  const [signature] = await putSignatures(image);
  const withoutApi: Interference = async ({ url, method }, pass) => {
    if (url.pathname.includes('/referrers/')) return new Response(null, { status: 404 });
    if (method !== 'PUT') return undefined;
    const answer = await pass();
    const headers = new Headers(answer.headers);
    headers.delete('OCI-Subject');
    return new Response(null, { status: answer.status, headers });
  };
  await copy({ referrers: true, interfere: withoutApi });
  const copied = new Repository(hostOf(wired(withoutApi)), 'alice/copy', 'pull');
  expect((await copied.referrers(image.digest)).map(({ digest }) => digest)).toEqual([signature]);
});

test('a failure ends the copy, and no manifest is written', async () => {
  await putImage('alice/app', 1, ['latest']);
  const interfere: Interference = ({ method, url }) =>
    method === 'PUT' && url.pathname.includes('/blobs/') ? new Response(null, { status: 403 }) : undefined;
  await expect(copy({ interfere })).rejects.toMatchObject({ status: 403 });
  expect(await tagged('copied')).toBeNull();
});

test('bytes with another digest than the manifest names are refused', async () => {
  await putImage('alice/app', 1, ['latest']);
  const source = new Repository(
    hostOf(wired(({ url, method }) => (method === 'GET' && url.pathname.endsWith('/latest') ? forged() : undefined))),
    'alice/app',
    'pull',
  );
  await expect(source.getManifest('latest')).rejects.toThrow(/have the digest sha256:\w+, not sha256:00/);
});

function forged(): Response {
  return new Response('{}', { headers: { 'Docker-Content-Digest': `sha256:${'0'.repeat(64)}` } });
}
