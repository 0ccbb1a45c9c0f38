/** Checks that push an image of a few MB to a host: one layer in chunks, one as a whole. */
import { createHash, randomBytes } from 'node:crypto';
import { type Answer, type Ask, type Client, header, requireStatus } from './client.ts';
import { requireHeader } from './edge.ts';
import type { Host } from './hosts.ts';
import { Failed, type Found, notChecked, ok } from './line.ts';
import type { Run } from './run.ts';
import type { Scratch } from './scratch.ts';

const MIB = 1024 ** 2;
const CHUNKS = [2 * MIB, MIB];
const WHOLE = 2 * MIB;

/** The longest that a request with megabytes may take. */
export const TRANSFER_MILLISECONDS = 120_000;

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/**
 * A config with the commands of a build, as real ones have. Firewall rules that read bodies have taken such commands
 * for an attack and refused the push (podman-container-tools/podman issue 18757).
 */
const CONFIG = {
  architecture: 'amd64',
  os: 'linux',
  history: [{ created_by: 'RUN /bin/sh -c ls /var/log && cat /etc/passwd | grep root && curl http://localhost/ # x' }],
};

export interface Blob {
  readonly bytes: Buffer;
  readonly digest: string;
}

/** An image that was pushed to a host, under a tag of the host's own. */
export interface Image {
  readonly tag: string;
  readonly manifest: Blob;
  readonly mediaType: string;
  readonly config: Blob;
  readonly layers: readonly [inChunks: Blob, whole: Blob];
}

export async function* checkPush(run: Run, host: Host): AsyncGenerator<Found, void> {
  const { scratch } = run;
  if (scratch === undefined) return yield notChecked('it needs the credential of an organization');
  await scratch.requireRights(run.client, host);
  const chunks = CHUNKS.map((size) => randomBytes(size));
  const layers = [blobOf(Buffer.concat(chunks)), blobOf(randomBytes(WHOLE))] as const;
  const config = blobOf(Buffer.from(JSON.stringify({ ...CONFIG, created: new Date().toISOString() })));

  await pushInChunks(run.client, scratch, host, layers[0], chunks);
  yield ok(`${megabytes(layers[0])} in ${chunks.length} chunks`);
  for (const blob of [layers[1], config]) await pushWhole(run.client, scratch, host, blob);
  yield ok(`${megabytes(layers[1])} as a whole`);

  const manifest = manifestOf(config, layers);
  const tag = `pushed-to-${host.name.replaceAll(/[^\w.-]/g, '-')}`;
  const image: Image = { tag, manifest, mediaType: MANIFEST, config, layers };
  await pushManifest(run.client, scratch, host, image, tag);
  run.images.set(host, image);
}

/** Pushes the manifest of an image whose blobs the host has. */
export async function pushManifest(
  client: Client,
  scratch: Scratch,
  host: Host,
  { manifest, mediaType }: Image,
  tag: string,
): Promise<void> {
  const put = { method: 'PUT', headers: { 'Content-Type': mediaType }, body: manifest.bytes };
  const answer = requireStatus(await scratch.ask(client, host, `manifests/${tag}`, put), 201);
  requireHeader(answer, 'Docker-Content-Digest', manifest.digest);
}

/** Sends the first chunk without a length, as docker does, and the others with one. */
async function pushInChunks(
  client: Client,
  scratch: Scratch,
  host: Host,
  blob: Blob,
  chunks: readonly Buffer[],
): Promise<void> {
  let location = await openUpload(client, scratch, host);
  let sent = 0;
  for (const chunk of chunks) {
    const ranged = { 'Content-Range': `${sent}-${sent + chunk.byteLength - 1}` };
    const asked = sent === 0 ? { body: piecesOf(chunk) } : { body: chunk, headers: ranged };
    sent += chunk.byteLength;
    const patch = await scratch.ask(client, host, location, bytes('PATCH', asked));
    requireHeader(requireStatus(patch, 202), 'Range', `0-${sent - 1}`);
    location = locationOf(patch);
  }
  await finish(client, scratch, host, location, blob, {});
}

async function pushWhole(client: Client, scratch: Scratch, host: Host, blob: Blob): Promise<void> {
  const location = await openUpload(client, scratch, host);
  await finish(client, scratch, host, location, blob, { body: blob.bytes });
}

/** Opens an upload, and returns its location. */
export async function openUpload(client: Client, scratch: Scratch, host: Host): Promise<string> {
  scratch.remember(host);
  const location = locationOf(
    requireStatus(await scratch.ask(client, host, 'blobs/uploads/', { method: 'POST' }), 202),
  );
  scratch.remember(host, location);
  return location;
}

async function finish(
  client: Client,
  scratch: Scratch,
  host: Host,
  location: string,
  { digest }: Blob,
  asked: Ask,
): Promise<void> {
  scratch.remember(host, `blobs/${digest}`);
  const closing = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
  const answer = requireStatus(await scratch.ask(client, host, closing, bytes('PUT', asked)), 201);
  requireHeader(answer, 'Docker-Content-Digest', digest);
}

function bytes(method: string, asked: Ask): Ask {
  const headers = { 'Content-Type': 'application/octet-stream', ...asked.headers };
  return { ...asked, method, headers, deadline: TRANSFER_MILLISECONDS };
}

function locationOf(answer: Answer): string {
  const location = header(answer, 'Location');
  if (location !== undefined) return location;
  throw new Failed(
    `${answer.method} ${answer.url.pathname} is answered with ${answer.status}, without Location`,
    'Look for a transform rule or another Worker that removes headers: docs/zone.md.',
  );
}

const PIECE = 65_536;

function* piecesOf(content: Buffer): Generator<Buffer> {
  for (let i = 0; i < content.byteLength; i += PIECE) yield content.subarray(i, i + PIECE);
}

function blobOf(content: Buffer): Blob {
  return { bytes: content, digest: `sha256:${createHash('sha256').update(content).digest('hex')}` };
}

function manifestOf(config: Blob, layers: readonly Blob[]): Blob {
  const descriptor = (mediaType: string, { bytes: { byteLength: size }, digest }: Blob) => ({
    mediaType,
    digest,
    size,
  });
  return blobOf(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: descriptor('application/vnd.oci.image.config.v1+json', config),
        layers: layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
      }),
    ),
  );
}

function megabytes({ bytes: { byteLength } }: Blob): string {
  return `${(byteLength / 1e6).toFixed(1)} MB`;
}
