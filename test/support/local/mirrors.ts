/**
 * Mirrors over HTTP: set by an administrator, and pulled from by the platform's credential, which may pull from all.
 */
import { randomBytes } from 'node:crypto';
import { type Caller, loggedIn, request, sha256 } from './push.ts';
import { type Described, type MemoryUpstream, sha512 } from './upstream.ts';
import { type Server, until } from './server.ts';

const OCI_IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

interface Fields {
  readonly config?: Described;
  readonly layers?: readonly (Described & { readonly urls?: readonly string[] })[];
}

/** Adds an image, an index, sha512 content, Docker's schema 2 and a foreign layer. */
export function fillWithShapes(content: MemoryUpstream, repository: string): void {
  content.image(repository, ['plain', 'also-plain'], [1000, 3_000_000]);
  content.index(repository, ['multi'], ['linux/amd64', 'linux/arm64']);
  const config = content.blob(randomBytes(100), 'application/vnd.docker.container.image.v1+json');
  const layer = content.blob(randomBytes(1000), DOCKER_LAYER);
  const foreign = { mediaType: FOREIGN, digest: sha256(randomBytes(10)), size: 12_345, urls: ['https://a.example/b'] };
  const windows = content.document(repository, DOCKER, { config, layers: [foreign, layer] }, ['windows']);
  const manifests = [{ ...windows, platform: { os: 'windows', architecture: 'amd64' } }];
  content.document(repository, DOCKER_LIST, { manifests }, ['docker-list']);
  const long = randomBytes(1000);
  const layers = [content.blob(long, undefined, sha512(long))];
  content.document(repository, OCI_IMAGE, { config: content.blob(Buffer.from('{}')), layers }, ['long-layer']);
}

/** Pushes all that a registry in this process has in a repository. */
export async function pushDocuments(caller: Caller, content: MemoryUpstream, repository: string, as = repository) {
  const send = async (method: string, path: string | URL, init?: RequestInit): Promise<Response> => {
    const answer = await request(caller, method, String(path), init);
    if (!answer.ok) throw new Error(`${method} ${path} was answered ${answer.status}: ${await answer.text()}`);
    return answer;
  };
  for (const [reference, { mediaType, bytes }] of content.documentsOf(repository)) {
    for (const { digest } of blobsIn(bytes)) {
      const opened = await send('POST', `/v2/${as}/blobs/uploads/`);
      const location = new URL(opened.headers.get('Location') ?? '', caller.url);
      location.searchParams.set('digest', digest);
      await send('PUT', location, { body: new Uint8Array(content.content(digest)) });
    }
    const headers = { 'Content-Type': mediaType };
    await send('PUT', `/v2/${as}/manifests/${reference}`, { headers, body: new Uint8Array(bytes) });
  }
}

/** Returns the blobs that a manifest's registry has. */
function blobsIn(manifest: Buffer): Described[] {
  const { config, layers = [] } = JSON.parse(manifest.toString()) as Fields;
  return [config, ...layers.filter(({ urls }) => urls === undefined)].filter((each) => each !== undefined);
}

/** Pulls everything, and compares every byte with what a registry in this process has. @returns what differs */
export async function differencesOf(caller: Caller, content: MemoryUpstream, from: string, repository: string) {
  const found: string[] = [];
  for (const [reference, { digest, mediaType, bytes }] of content.documentsOf(from)) {
    const answer = await request(caller, 'GET', `/v2/${repository}/manifests/${reference}`);
    const isSame =
      Buffer.from(await answer.arrayBuffer()).equals(bytes) &&
      answer.headers.get('Docker-Content-Digest') === digest &&
      answer.headers.get('Content-Type') === mediaType;
    if (answer.status !== 200 || !isSame) found.push(`${reference}: ${answer.status}`);
    for (const blob of blobsIn(bytes)) {
      const gotten = await request(caller, 'GET', `/v2/${repository}/blobs/${blob.digest}`);
      const isWhole = Buffer.from(await gotten.arrayBuffer()).equals(content.content(blob.digest));
      if (gotten.status !== 200 || !isWhole) found.push(`${reference}: ${blob.digest}: ${gotten.status}`);
    }
  }
  return found;
}

/** Central and a node of a server. */
export const HOSTS = ['central', 'node1'] as const;
export type HostName = (typeof HOSTS)[number];

/** The addresses of a server. */
type Addresses = Pick<Server, 'url' | 'nodes'>;

export function callerAt({ url, nodes }: Addresses, host: HostName, user = 'platform'): Caller {
  return loggedIn(host === 'central' ? url : (nodes[0]?.url ?? ''), user);
}

async function managed(
  server: Addresses,
  host: HostName,
  method: string,
  path: string,
  body?: object,
): Promise<unknown> {
  const answer = await request(callerAt(server, host, 'admin'), method, `/api/${path}`, {
    headers: { 'Content-Type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path} was answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}

/** Makes a new organization a mirror, and waits until the nodes know. */
export async function startMirror(server: Addresses, organization: string, settings: object): Promise<void> {
  await managed(server, 'central', 'POST', 'organizations', { name: organization });
  await changeMirror(server, organization, settings);
}

/** Replaces the settings of a mirror, and waits until the nodes know them. */
export async function changeMirror(server: Addresses, organization: string, settings: object): Promise<void> {
  const set = (await managed(server, 'central', 'PUT', `organizations/${organization}/mirror`, settings)) as Mirror;
  await until(async () => {
    const known = (await managed(server, 'node1', 'GET', `organizations/${organization}/mirror`).catch(
      () => undefined,
    )) as Mirror | undefined;
    return known?.changed_at === set.changed_at;
  });
}

interface Mirror {
  readonly changed_at: string;
}

export interface MirrorStatus {
  readonly waiting: number;
  readonly failure: string | null;
}

export function statusAt(server: Addresses, host: HostName, organization: string): Promise<MirrorStatus> {
  return managed(server, host, 'GET', `organizations/${organization}/mirror/status`) as Promise<MirrorStatus>;
}

/** Waits until all that was pulled from a mirror is stored. */
export async function storedAt(server: Addresses, host: HostName, organization: string): Promise<void> {
  await until(async () => (await statusAt(server, host, organization)).waiting === 0);
}
