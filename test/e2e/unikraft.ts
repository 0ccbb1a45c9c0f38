/**
 * `kraft` and `unikraft`, replayed request by request over HTTP (`test/support/kraft.ts`, `test/support/unikraft.ts`),
 * with a kernel and root file systems that boot. docs/conformance.md says which commands these are, and why the
 * programs do not run themselves.
 */
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Application, Piece } from '../support/application.ts';
import { Kraft, type Login } from '../support/kraft.ts';
import { Unikraft } from '../support/unikraft.ts';
import { expectStatus, type Reply, type Send, Wire } from '../support/wire.ts';
import type { Image } from './clients/client.ts';
import { passwordOf, same } from './expectations.ts';
import { blobPath, contentOf, type Descriptor } from './images/layout.ts';
import type { Surroundings } from './surroundings.ts';
import { hostNamed, type TemporaryRegistry } from './temporary-registry.ts';

const HOSTS = ['central', 'node1'] as const;
type Host = (typeof HOSTS)[number];

const ORGANIZATION = 'alice';
const ROBOT = `robot$${ORGANIZATION}.users.kraftcloud`;
/** The value of `UKC_TOKEN`. */
const WHOLE_TOKEN = btoa(`${ROBOT}:${passwordOf(ORGANIZATION)}`);
const DECODED: Login = { user: ROBOT, secret: passwordOf(ORGANIZATION) };
const PLATFORM: Login = { user: 'platform', secret: passwordOf('platform') };

/**
 * `kraft login -t <token>` splits the token; with `-u <organization> -t <secret>` it sends these as they are. What
 * `unikraft` sends depends on the kind of host.
 */
const LOGINS = {
  kraft: { central: DECODED, node1: { user: ORGANIZATION, secret: passwordOf(ORGANIZATION) } },
  unikraft: { central: DECODED, node1: { user: ORGANIZATION, secret: WHOLE_TOKEN } },
} as const satisfies Record<string, Record<Host, Login>>;

const OPEN = {
  kraft: (wire: Wire, login: Login) => new Kraft(wire, login),
  unikraft: (wire: Wire, login: Login) => new Unikraft(wire, login),
};

export async function checkUnikraft(surroundings: Surroundings): Promise<void> {
  console.log('--- kraft and unikraft, replayed');
  for (const name of ['kraft', 'unikraft'] as const) {
    for (const host of HOSTS) await checkAt(name, host, surroundings);
  }
}

async function checkAt(name: keyof typeof OPEN, host: Host, { registry, images, checks }: Surroundings): Promise<void> {
  const first = await applicationIn(images.unikraft);
  const changed = await applicationIn(images['changed-unikraft']);
  const path = `${name}-${host}`;
  const repository = `${ORGANIZATION}/${path}`;
  const wire = wireTo(registry, host);
  const client = OPEN[name](wire, LOGINS[name][host]);
  // `kraft cloud` splits its token.
  const cloud = new Kraft(wire, DECODED);
  const check = (what: string, body: () => Promise<string | void>): Promise<boolean> =>
    checks.check(`${name}, at ${host}: ${what}`, body);

  await check('push a package to central, and pull it byte for byte', async () => {
    const central = OPEN[name](wireTo(registry, 'central'), LOGINS[name].central);
    await central.push(repository, 'latest', first);
    samePieces(await central.pull(repository, 'latest'), first);
  });
  await check('push it with another root file system: its kernel is not sent', async () => {
    await client.push(repository, 'latest', changed);
    const sent = wire.takeExchanges().reduce((total, { bytes }) => total + bytes, 0);
    const [kernel] = changed.layers;
    const expected = bytesOf(everything(changed).filter((piece) => piece !== kernel));
    if (sent !== expected) throw new Error(`${sent} bytes were sent, not ${expected}`);
    samePieces(await client.pull(repository, 'latest'), changed);
    return `${sent} of ${bytesOf(everything(changed))} bytes sent`;
  });
  await check('it is listed at once, as this command line and older ones list', () =>
    checkListed(registry, host, repository, changed),
  );
  await check("the platform's credential boots it there, by tag and by digest", async () => {
    const platform = new Unikraft(wireTo(registry, host), PLATFORM);
    for (const reference of ['latest', changed.index.digest])
      samePieces(await platform.pull(repository, reference), changed);
  });
  await check('remove it by its tag', async () => {
    const remove = (): Promise<Reply> =>
      client instanceof Kraft ? cloud.removeImage(repository, 'latest') : client.delete(repository, 'latest');
    expectStatus(await remove(), 200, 202);
    expectStatus(await remove(), 404);
    same(await listedTags(registry, host, repository), []);
  });
  await check('push it again, and remove the repository', async () => {
    await client.push(repository, 'latest', changed);
    expectStatus(await cloud.removeRepository(ORGANIZATION, path), 200);
    expectStatus(await cloud.removeRepository(ORGANIZATION, path), 404);
    same(await listedTags(registry, host, repository), []);
  });
}

async function checkListed(
  registry: TemporaryRegistry,
  host: Host,
  repository: string,
  { index, layers, config }: Application,
) {
  const { url } = hostNamed(registry, host);
  const size = bytesOf([...layers, config]);
  const digest = `${repository}@${index.digest}`;
  same(await listedTags(registry, host, repository), [`latest ${index.digest} ${size}`]);
  for (const asked of [{ tag: `${repository}:latest` }, { digest }]) {
    const images = await imagesAt<OldImage>(`${url}/v1/images/list`, JSON.stringify([asked]));
    const found = images.map((image) => `${image.digest} ${image.tags.join()} ${image.initrd} ${image.size_in_bytes}`);
    same(found, [`${digest} ${repository}:latest true ${size}`]);
  }
}

interface CentralImage {
  readonly name: string;
  readonly tags: readonly { readonly name: string; readonly digest: string; readonly size: number }[];
}

interface NodeImage {
  readonly url: string;
  readonly tags: readonly string[];
  readonly size_in_bytes: number;
}

interface OldImage {
  readonly digest: string;
  readonly tags: readonly string[];
  readonly initrd: boolean;
  readonly size_in_bytes: number;
}

/** Returns `<tag> <digest> <size>` of each image, as `kraft cloud image ls` and `unikraft images list` find them. */
async function listedTags(registry: TemporaryRegistry, host: Host, repository: string): Promise<string[]> {
  const { url } = hostNamed(registry, host);
  if (host === 'central') {
    const images = await imagesAt<CentralImage>(`${url}/v1/images?details=true`);
    const tags = images.flatMap((image) => (image.name === repository ? image.tags : []));
    return tags.map((tag) => `${tag.name} ${tag.digest} ${tag.size}`);
  }
  const images = await imagesAt<NodeImage>(`${url}/v1/image-store`);
  return images.flatMap((image) => {
    const [name = '', digest = ''] = image.url.slice(image.url.indexOf('/') + 1).split('@');
    return name === repository ? image.tags.map((tag) => `${tag} ${digest} ${image.size_in_bytes}`) : [];
  });
}

/** @param body the body of the GET, which `fetch` could not send */
async function imagesAt<Listed>(url: string, body = ''): Promise<Listed[]> {
  const headers = {
    Authorization: `Bearer ${WHOLE_TOKEN}`,
    'Content-Type': 'application/json',
    'Content-Length': body.length,
  };
  return new Promise((done, fail) => {
    const asked = request(url, { method: 'GET', headers }, (answer) => {
      const read = async (): Promise<Listed[]> => {
        const content = await text(answer);
        if (answer.statusCode !== 200) throw new Error(`${url}: ${answer.statusCode} ${content}`);
        return (JSON.parse(content) as { data: { images: Listed[] } }).data.images;
      };
      read().then(done, fail);
    });
    asked.on('error', fail).end(body);
  });
}

const send: Send = async (url, { method, headers, body }) => {
  const answer = await fetch(url, { method, headers, redirect: 'manual', ...(body !== undefined && { body }) });
  return { status: answer.status, headers: answer.headers, bytes: new Uint8Array(await answer.arrayBuffer()) };
};

function wireTo(registry: TemporaryRegistry, host: Host): Wire {
  return new Wire(hostNamed(registry, host).url, send);
}

/** Returns the image of a layout: an index of one manifest. */
async function applicationIn({ layout }: Image): Promise<Application> {
  const piece = async (descriptor: Descriptor): Promise<Piece> => ({
    mediaType: descriptor.mediaType,
    digest: descriptor.digest,
    bytes: Uint8Array.from(await readFile(blobPath(layout, descriptor))),
  });
  const [manifest, config, ...rest] = await Promise.all((await contentOf(layout)).toSorted(byPlace).map(piece));
  const index = rest.pop();
  if (manifest === undefined || config === undefined || index === undefined)
    throw new Error(`${layout} has no index of one image`);
  return { manifest, config, layers: rest, index };
}

/** Sorts by manifest, config, layers in their order, index. */
function byPlace(a: Descriptor, b: Descriptor): number {
  const ORDER = ['.manifest.', '.config.', '.layer.', '.index.'];
  const place = ({ mediaType }: Descriptor): number => ORDER.findIndex((part) => mediaType.includes(part));
  return place(a) - place(b);
}

function everything({ layers, config, manifest, index }: Application): Piece[] {
  return [...layers, config, manifest, index];
}

function bytesOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
}

/** @throws when the bytes differ */
function samePieces(got: ReadonlyMap<string, Uint8Array>, application: Application): void {
  same(
    [...got.keys()],
    everything(application).map(({ digest }) => digest),
  );
  for (const { digest, bytes } of everything(application)) {
    if (Buffer.compare(got.get(digest) ?? Buffer.alloc(0), bytes) !== 0) throw new Error(`${digest} has other bytes`);
  }
}
