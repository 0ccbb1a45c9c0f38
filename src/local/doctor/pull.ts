/** Checks that pull the pushed image from a host, and compare every byte and the headers that clients use. */
import { type Answer, type Ask, header, requireStatus } from './client.ts';
import { requireHeader } from './edge.ts';
import type { Host } from './hosts.ts';
import { Failed, type Found, notChecked, ok } from './line.ts';
import { type Blob, type Image, TRANSFER_MILLISECONDS } from './push.ts';
import type { Run } from './run.ts';

/** Clients that can decode an answer say so. Only then does an edge compress one. */
const ENCODINGS = 'gzip, br, zstd';

const UNCHANGED = 'Turn off compression and other transformations for this host: docs/zone.md.';

type Pull = (path: string, asked?: Ask) => Promise<Answer>;

/** Returns how to pull, and the image that was pushed to the host; undefined if none was. */
function pulling({ client, images, scratch }: Run, host: Host): { image: Image; pull: Pull } | undefined {
  const image = images.get(host);
  if (image === undefined || scratch === undefined) return undefined;
  const pull: Pull = (path, { headers, ...asked } = {}) =>
    scratch.ask(client, host, path, {
      deadline: TRANSFER_MILLISECONDS,
      ...asked,
      headers: { 'Accept-Encoding': ENCODINGS, Accept: `${image.mediaType}, */*`, ...headers },
    });
  return { image, pull };
}

const NOTHING = notChecked('nothing was pushed to the host');

/** Checks the headers by which clients judge content before they fetch it. */
export async function* checkHeaders(run: Run, host: Host): AsyncGenerator<Found, void> {
  const found = pulling(run, host);
  if (found === undefined) return yield NOTHING;
  const { image, pull } = found;
  for (const [path, { bytes, digest }, mediaType] of [
    [`manifests/${image.tag}`, image.manifest, image.mediaType],
    [`blobs/${image.layers[0].digest}`, image.layers[0], 'application/octet-stream'],
  ] as const) {
    const answer = requireStatus(await pull(path, { method: 'HEAD' }), 200);
    requireHeader(answer, 'Content-Length', String(bytes.byteLength));
    requireHeader(answer, 'Docker-Content-Digest', digest);
    requireHeader(answer, 'Docker-Distribution-API-Version', 'registry/2.0');
    requireHeader(answer, 'Content-Type', mediaType);
    requireUntransformed(answer, digest);
  }
  yield ok('HEAD has lengths and digests');
}

/** Checks that manifests and blobs arrive as they were pushed. */
export async function* checkPull(run: Run, host: Host): AsyncGenerator<Found, void> {
  const found = pulling(run, host);
  if (found === undefined) return yield NOTHING;
  const { image, pull } = found;
  const contents: [string, Blob][] = [
    [`manifests/${image.tag}`, image.manifest],
    ...[image.config, ...image.layers].map((blob): [string, Blob] => [`blobs/${blob.digest}`, blob]),
  ];
  for (const [path, { bytes, digest }] of contents) {
    const answer = requireStatus(await pull(path), 200);
    requireUntransformed(answer, digest);
    requireHeader(answer, 'Content-Length', String(bytes.byteLength));
    requireBytes(answer, bytes);
  }
  yield ok('every byte is as it was pushed');
}

/** Checks a pull that continues in the middle, as after a broken connection. */
export async function* checkRange(run: Run, host: Host): AsyncGenerator<Found, void> {
  const found = pulling(run, host);
  if (found === undefined) return yield NOTHING;
  const { image, pull } = found;
  const { bytes, digest } = image.layers[0];
  const [start, end] = [Math.floor(bytes.byteLength / 3), bytes.byteLength - 2];
  const answer = requireStatus(await pull(`blobs/${digest}`, { headers: { Range: `bytes=${start}-${end}` } }), 206);
  requireHeader(answer, 'Content-Range', `bytes ${start}-${end}/${bytes.byteLength}`);
  requireUntransformed(answer, digest);
  requireBytes(answer, bytes.subarray(start, end + 1));
  yield ok(`bytes ${start} to ${end} of ${bytes.byteLength}`);
}

/** @throws Failed */
function requireUntransformed(answer: Answer, digest: string): void {
  const what = `${answer.method} ${answer.url.pathname.split('/').slice(-2).join('/')}`;
  const encoding = header(answer, 'Content-Encoding');
  if (encoding !== undefined) throw new Failed(`${what} is compressed: Content-Encoding is "${encoding}"`, UNCHANGED);
  const tag = header(answer, 'ETag');
  if (tag?.startsWith('W/') === true)
    throw new Failed(`${what} has the weak ETag ${tag}: something may change the bytes`, UNCHANGED);
  requireHeader(answer, 'ETag', `"${digest}"`);
}

/** @throws Failed */
function requireBytes({ method, url, body }: Answer, expected: Buffer): void {
  if (body.equals(expected)) return;
  const at = body.findIndex((byte, i) => byte !== expected[i]);
  const where = at < 0 ? `${body.byteLength} bytes instead of ${expected.byteLength}` : `byte ${at} differs`;
  throw new Failed(`${method} ${url.pathname.split('/').slice(-2).join('/')} gives other bytes: ${where}`, UNCHANGED);
}
