/** Pushes over HTTP, request by request, as docker does. */
import { createHash, randomBytes } from 'node:crypto';
import { secrets } from './logged-secrets.ts';

export interface LocalImage {
  readonly blobs: readonly Buffer[];
  readonly manifest: Buffer;
  readonly digest: string;
}

export function sha256(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** Returns an image of random blobs: a config, and layers of the given sizes. */
export function imageOf(...layerSizes: readonly number[]): LocalImage {
  return imageWith(randomBytes(200), ...layerSizes);
}

/** Returns an image of a config, and layers of the given sizes. */
export function imageWith(config: Buffer, ...layerSizes: readonly number[]): LocalImage {
  const layers = layerSizes.map((size) => randomBytes(size));
  const descriptor = (content: Buffer, mediaType: string) => ({
    mediaType,
    digest: sha256(content),
    size: content.byteLength,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: descriptor(config, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((layer) => descriptor(layer, 'application/vnd.oci.image.layer.v1.tar')),
    }),
  );
  return { blobs: [config, ...layers], manifest, digest: sha256(manifest) };
}

export interface Caller {
  readonly url: string;
  readonly authorization: string;
  /** Sends its requests; the global `fetch` by default. */
  readonly fetch?: typeof fetch;
}

export function loggedIn(url: string, name: string): Caller {
  return { url, authorization: `Basic ${Buffer.from(`${name}:${name}-dev`).toString('base64')}` };
}

export async function request(caller: Caller, method: string, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('Authorization', caller.authorization);
  const send = caller.fetch ?? fetch;
  const response = await send(new URL(path, caller.url), { ...init, method, headers });
  secrets.addLocation(response.headers.get('Location') ?? '');
  return response;
}

/** Returns a body without Content-Length. */
export function chunked(content: Buffer): RequestInit {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let i = 0; i < content.byteLength; i += 65_536) controller.enqueue(content.subarray(i, i + 65_536));
      controller.close();
    },
  });
  return { body, duplex: 'half' } as RequestInit;
}

export interface Step {
  readonly name: string;
  /** Makes one request. @throws if the answer is not what a client expects */
  run(caller: Caller): Promise<void>;
}

/** Returns the requests of a push, in order. Later ones use what earlier ones learn, such as the upload's location. */
export function pushSteps(repository: string, tag: string, image: LocalImage): Step[] {
  const uploads = image.blobs.flatMap((blob, i): Step[] => {
    let location = '';
    return [
      {
        name: `POST of blob ${i}`,
        run: async (caller) => {
          location = locationOf(await expectStatus(202, request(caller, 'POST', `/v2/${repository}/blobs/uploads/`)));
        },
      },
      {
        name: `PATCH of blob ${i}`,
        run: async (caller) => {
          location = locationOf(await expectStatus(202, request(caller, 'PATCH', location, chunked(blob))));
        },
      },
      {
        name: `PUT of blob ${i}`,
        run: async (caller) => {
          await expectStatus(201, request(caller, 'PUT', `${location}?digest=${sha256(blob)}`));
        },
      },
    ];
  });
  return [...uploads, { name: 'PUT of the manifest', run: (caller) => putManifest(caller, repository, tag, image) }];
}

/** Pushes an image. */
export async function pushImage(caller: Caller, repository: string, tag: string, image: LocalImage): Promise<void> {
  for (const step of pushSteps(repository, tag, image)) await step.run(caller);
}

export async function putManifest(caller: Caller, repository: string, tag: string, image: LocalImage): Promise<void> {
  const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
  const init = { body: new Uint8Array(image.manifest), headers };
  await expectStatus(201, request(caller, 'PUT', `/v2/${repository}/manifests/${tag}`, init));
}

/** Pulls everything and compares every byte. */
export async function comparePull(
  caller: Caller,
  repository: string,
  reference: string,
  image: LocalImage,
): Promise<void> {
  const manifest = await expectStatus(200, request(caller, 'GET', `/v2/${repository}/manifests/${reference}`));
  if (!Buffer.from(await manifest.arrayBuffer()).equals(image.manifest)) throw new Error('the manifest differs');
  for (const blob of image.blobs) await compareBlob(caller, repository, blob);
}

export async function compareBlob(caller: Caller, repository: string, blob: Buffer): Promise<void> {
  const response = await expectStatus(200, request(caller, 'GET', `/v2/${repository}/blobs/${sha256(blob)}`));
  if (!Buffer.from(await response.arrayBuffer()).equals(blob)) throw new Error(`the blob ${sha256(blob)} differs`);
}

async function expectStatus(status: number, pending: Promise<Response>): Promise<Response> {
  const response = await pending;
  if (response.status !== status)
    throw new Error(`expected ${status}, got ${response.status}: ${await response.text()}`);
  return response;
}

function locationOf(response: Response): string {
  const location = response.headers.get('Location');
  if (location === null) throw new Error('the answer has no Location header');
  return location;
}
