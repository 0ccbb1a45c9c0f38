/** Random pushes and deletions, as sequences of requests. A job that was interrupted can be run again. */
import type { Random } from './random.ts';
import {
  type Change,
  close,
  deleteBlob,
  deleteManifest,
  deleteTag,
  mount,
  PART_BYTES,
  patch,
  postWhole,
  putManifest,
} from './registry-changes.ts';
import type { Answer, Content, Document, Outgoing, RepositoryState, Session } from './registry-model.ts';

/** A client that is the only one to use its repository. */
export interface Actor {
  /** The state of the repository after all acknowledged changes. */
  readonly state: RepositoryState;
  readonly random: Random;
  /** Makes a request that changes nothing and must be answered with `status`. */
  ask(request: Outgoing, status: number): Promise<Answer>;
  /** Makes a change, and adds it to the state once it is acknowledged. */
  change(change: Change): Promise<Answer>;
}

export interface Job {
  readonly name: 'push' | 'tag' | 'blob' | 'delete';
  run(): Promise<void>;
}

/** The material of jobs. */
export interface Material {
  /** Sizes of blobs, each with its weight. */
  readonly sizes: Readonly<Record<string, number>>;
  /** Blobs that many actors push, perhaps at the same time. */
  readonly shared: readonly Content[];
  /** A repository that always has the shared blobs, to mount from. */
  readonly source: string;
}

const FORMS = { patch: 3, 'patch chunked': 3, put: 2, 'put chunked': 2, post: 3, chunks: 4, mount: 2 };
/** The forms of blobs that have more than two parts. */
const FORMS_OF_LARGE = { ...FORMS, chunks: 16 };
const JOBS = { image: 8, moved: 4, tagged: 3, blob: 3, 'delete tag': 3, 'delete manifest': 4, 'delete blob': 4 };
const IMAGE = 'application/vnd.oci.image';

/** Returns the next job of an actor. `images` are those that it has pushed before, and may push again. */
export async function nextJob(actor: Actor, material: Material, images: Document[]): Promise<Job> {
  const { random, state } = actor;
  const tag = (): string => `t${random.between(0, 5)}`;
  switch (random.weighted(JOBS)) {
    case 'image':
      return pushImage(actor, material, images, random.chance(0.2) ? [] : [tag()]);
    case 'moved':
      return pushImage(actor, material, images, [
        ...new Set([random.pick([...state.tags.keys()]) ?? tag(), tag(), tag()]),
      ]);
    case 'tagged': {
      const document = random.pick(images.filter(({ blobs }) => blobs.every((digest) => state.blobs.has(digest))));
      if (document === undefined) return pushImage(actor, material, images, [tag()]);
      const change = putManifest(state.name, document, [tag()]);
      return { name: 'tag', run: async () => void (await actor.change(change)) };
    }
    case 'blob':
      return upload(actor, material, await newBlob(random, material));
    case 'delete tag': {
      const name = random.pick([...state.tags.keys()]);
      return name === undefined
        ? pushImage(actor, material, images, [tag()])
        : remove(actor, deleteTag(state.name, name), () => state.tags.has(name));
    }
    case 'delete manifest': {
      const digest = random.pick([...state.manifests.keys()]);
      return digest === undefined
        ? pushImage(actor, material, images, [tag()])
        : remove(actor, deleteManifest(state.name, digest), () => state.manifests.has(digest));
    }
    case 'delete blob': {
      const digest = random.pick(state.unreferenced());
      return digest === undefined
        ? upload(actor, material, await newBlob(random, material))
        : remove(actor, deleteBlob(state.name, digest), () => state.blobs.has(digest));
    }
  }
}

async function pushImage(actor: Actor, material: Material, images: Document[], tags: readonly string[]): Promise<Job> {
  const { random, state } = actor;
  const layers = await Promise.all(Array.from({ length: random.between(1, 3) }, () => newBlob(random, material)));
  const config = await contentOf(random.bytes(random.between(20, 300)));
  const subject = random.chance(0.2) ? random.pick([...state.manifests.values()]) : undefined;
  const document = await imageOf(config, layers, subject);
  const uploads = [config, ...layers].map((blob) => upload(actor, material, blob));
  const change = putManifest(state.name, document, tags);
  const run = async (): Promise<void> => {
    for (const job of uploads) await job.run();
    await actor.change(change);
    if (!images.includes(document)) images.push(document);
  };
  return { name: 'push', run };
}

async function newBlob(random: Random, { sizes, shared }: Material): Promise<Content> {
  const common = random.chance(0.25) ? random.pick(shared) : undefined;
  if (common !== undefined) return common;
  const size = Number(random.weighted(sizes));
  // Uploads are hashed with sha256 as they arrive. An upload that is closed with a sha512 digest is read back.
  const algorithm = random.chance(0.15) ? 'sha512' : 'sha256';
  return contentOf(random.bytes(random.between(Math.ceil(size * 0.9), size)), algorithm);
}

/** Uploads a blob, or sends only a HEAD if the repository has it, as clients do. */
function upload(actor: Actor, { source, shared }: Material, blob: Content): Job {
  const { state, random } = actor;
  const isLarge = blob.bytes.byteLength > 2 * PART_BYTES;
  const form = random.weighted(isLarge ? FORMS_OF_LARGE : FORMS);
  const cuts = random.between(2, 4);
  const resumes = random.chance(0.5);
  const run = async (): Promise<void> => {
    if (state.blobs.has(blob.digest)) {
      await actor.ask({ method: 'HEAD', path: `/v2/${state.name}/blobs/${blob.digest}` }, 200);
      return;
    }
    if (form === 'mount' && shared.includes(blob)) return void (await actor.change(mount(state.name, blob, source)));
    if (form === 'post' || form === 'mount') return void (await actor.change(postWhole(state.name, blob)));
    const session = (resumes ? await resumed(actor, blob) : undefined) ?? (await opened(actor, blob));
    const rest = (): Uint8Array<ArrayBuffer> => blob.bytes.subarray(session.size);
    const send = async (change: Change): Promise<void> => {
      session.location = locationOf(await actor.change(change));
    };
    if (form === 'chunks') {
      const length = Math.max(isLarge ? PART_BYTES : 1, Math.ceil(rest().byteLength / cuts));
      for (let i = 1; i < cuts && rest().byteLength > 0; i++)
        await send(patch(session, rest().subarray(0, length), 'with range'));
    } else if (form === 'patch' || form === 'patch chunked') {
      if (rest().byteLength > 0) await send(patch(session, rest(), form === 'patch' ? 'with length' : 'chunked'));
    }
    await actor.change(close(session, blob, rest(), form === 'put chunked'));
  };
  return { name: 'blob', run };
}

async function opened(actor: Actor, { digest }: Content): Promise<Session> {
  const answer = await actor.ask({ method: 'POST', path: `/v2/${actor.state.name}/blobs/uploads/` }, 202);
  const session = { location: locationOf(answer), size: 0, open: true, digest };
  actor.state.session = session;
  return session;
}

/** Returns the open session of this blob, if there is one. */
async function resumed(actor: Actor, { digest }: Content): Promise<Session | undefined> {
  const { session } = actor.state;
  if (session === undefined || !session.open || session.digest !== digest) return undefined;
  session.location = locationOf(await actor.ask({ method: 'GET', path: session.location }, 204));
  return session;
}

/** Deletes something. If it is already deleted, the answer must be 404. */
function remove(actor: Actor, change: Change, isThere: () => boolean): Job {
  const run = async (): Promise<void> => {
    if (isThere()) await actor.change(change);
    else await actor.ask(change.request, change.statusIfDone);
  };
  return { name: 'delete', run };
}

export async function contentOf(
  bytes: Uint8Array<ArrayBuffer>,
  algorithm: 'sha256' | 'sha512' = 'sha256',
): Promise<Content> {
  const hash = new Uint8Array(await crypto.subtle.digest(algorithm.replace('sha', 'SHA-'), bytes));
  return { bytes, digest: `${algorithm}:${Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')}` };
}

async function imageOf(config: Content, layers: readonly Content[], subject: Document | undefined): Promise<Document> {
  const descriptor = ({ digest, bytes }: Content, type: string) => ({
    mediaType: `${IMAGE}.${type}`,
    digest,
    size: bytes.byteLength,
  });
  const mediaType = `${IMAGE}.manifest.v1+json`;
  const document = {
    schemaVersion: 2,
    mediaType,
    config: descriptor(config, 'config.v1+json'),
    layers: layers.map((layer) => descriptor(layer, 'layer.v1.tar')),
    ...(subject === undefined ? {} : { subject: { ...descriptor(subject, ''), mediaType } }),
  };
  const content = await contentOf(Uint8Array.from(new TextEncoder().encode(JSON.stringify(document))));
  const blobs = [config, ...layers].map(({ digest }) => digest);
  return { ...content, mediaType, blobs, ...(subject === undefined ? {} : { subject: subject.digest }) };
}

function locationOf(answer: Answer): string {
  const location = answer.header('Location');
  if (location === null) throw new Error('the answer has no Location header');
  return location;
}
