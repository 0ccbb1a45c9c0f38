/**
 * Makes one address out of two registries: writes go to a node, and reads to central, once central knows everything
 * that the node has acknowledged.
 *
 * | request                                                              | goes to |
 * | -------------------------------------------------------------------- | ------- |
 * | GET and HEAD of manifests, tags, referrers and the catalog           | central |
 * | GET and HEAD of blobs that central knows: {@link BlobsAtCentral}      | central |
 * | GET and HEAD of other blobs: central cannot know them                | node    |
 * | everything else: pushes, deletions, uploads, the ping, access tokens | node    |
 *
 * A node's access token is not valid at central. So the node challenges a client that has not logged in, and requests
 * of one that has are sent to central with the user's own password.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import type { LocalHost } from '../../src/local/simulators.ts';
import { forward } from '../e2e/forward.ts';

export interface SplitFrontOptions {
  readonly node: LocalHost;
  readonly central: LocalHost;
  /** The user who sends the requests. */
  readonly user: { readonly name: string; readonly password: string };
  readonly administrator: { readonly name: string; readonly password: string };
}

export interface SplitFront {
  readonly port: number;
  /** The number of requests that central answered. */
  readonly readsAtCentral: () => number;
  /** The number of requests that had to wait for announcements. */
  readonly waited: () => number;
}

const PATIENCE_MS = 30_000;
const LOOK_MS = 5;

export async function withSplitFront(
  options: SplitFrontOptions,
  use: (front: SplitFront) => Promise<void>,
): Promise<void> {
  const { central, node, user } = options;
  const authorization = basic(user);
  const announcements = new Announcements(options);
  const blobs = new BlobsAtCentral();
  let readsAtCentral = 0;

  const read = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    await announcements.all();
    readsAtCentral += 1;
    return forward(incoming, outgoing, { host: `localhost:${central.port}`, port: central.port, authorization });
  };
  const write = async (incoming: IncomingMessage, outgoing: ServerResponse, path: Path | undefined): Promise<void> => {
    const { method } = incoming;
    // A manifest is buffered to see what it references; everything else streams.
    const body = method === 'PUT' && path?.kind === 'manifests' ? await buffer(incoming) : undefined;
    const onAnswer = (answer: IncomingMessage): void => {
      if (method !== 'GET' && method !== 'HEAD') announcements.expect();
      blobs.note(method, path, answer, body);
    };
    const whole = body === undefined ? {} : { body };
    return forward(incoming, outgoing, { host: `localhost:${node.port}`, port: node.port, onAnswer, ...whole });
  };

  const server = createServer((incoming, outgoing) => {
    const { method, url = '/', headers } = incoming;
    const path = pathOf(url);
    const reads = method === 'GET' || method === 'HEAD';
    const known =
      headers.authorization !== undefined && path !== undefined && (path.kind !== 'blobs' || blobs.has(path));
    const done = reads && known ? read(incoming, outgoing) : write(incoming, outgoing, path);
    done.catch((error: unknown) => outgoing.writeHead(504).end(String(error)));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    await announcements.pause(true);
    const { port } = server.address() as AddressInfo;
    await use({ port, readsAtCentral: () => readsAtCentral, waited: () => announcements.waited });
  } finally {
    await announcements.pause(false);
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

/**
 * Tracks what central does not know yet. The node's queue is paused while nobody reads. So central never learns of a
 * write by chance before the next read, and deletions meet images that were never announced.
 */
class Announcements {
  readonly #queue: string;
  readonly #headers: Readonly<Record<string, string>>;
  #acknowledged = 0;
  #announced = 0;
  #turn: Promise<void> = Promise.resolve();
  waited = 0;

  constructor({ central, node, administrator }: SplitFrontOptions) {
    this.#queue = `http://127.0.0.1:${central.port}/api/replication/queues/${node.name}`;
    this.#headers = { Authorization: basic(administrator), 'Content-Type': 'application/json' };
  }

  /** Records that the node has acknowledged a write. */
  expect(): void {
    this.#acknowledged += 1;
  }

  async pause(paused: boolean): Promise<void> {
    await this.#ask({ method: 'PATCH', body: JSON.stringify({ paused }) });
  }

  /**
   * Waits until central knows every write that was acknowledged before.
   * @throws {Error} when it takes more than 30 s
   */
  all(): Promise<void> {
    const wanted = this.#acknowledged;
    const mine = this.#turn.then(() => (this.#announced < wanted ? this.#announce() : undefined));
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #announce(): Promise<void> {
    const acknowledged = this.#acknowledged;
    const waiting = await this.#waiting();
    if (waiting !== 0) {
      this.waited += 1;
      await this.pause(false);
      const deadline = Date.now() + PATIENCE_MS;
      while ((await this.#waiting()) !== 0) {
        if (Date.now() > deadline)
          throw new Error(`${this.#queue} has not announced everything after ${PATIENCE_MS} ms`);
        await setTimeout(LOOK_MS);
      }
      await this.pause(true);
    }
    this.#announced = acknowledged;
  }

  /** Returns how many announcements wait; undefined when the queue does not answer. */
  async #waiting(): Promise<number | undefined> {
    const { answers, depth } = await this.#ask({});
    return answers ? depth : undefined;
  }

  async #ask(request: RequestInit): Promise<{ readonly answers: boolean; readonly depth: number }> {
    const answer = await fetch(this.#queue, { ...request, headers: this.#headers });
    if (!answer.ok) throw new Error(`${this.#queue}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as { readonly answers: boolean; readonly depth: number };
  }
}

/**
 * The blobs that central knows of. Central learns of a blob with the first manifest of the repository that references
 * it, and of a blob's deletion, because deletions go through central. Only the node knows a deleted blob that is pushed
 * again.
 */
class BlobsAtCentral {
  readonly #known = new Map<string, 'referenced' | 'deleted'>();

  has({ repository, reference }: Path): boolean {
    return this.#known.has(`${repository}@${reference}`);
  }

  note(
    method: string | undefined,
    path: Path | undefined,
    answer: IncomingMessage,
    body: Uint8Array | undefined,
  ): void {
    const { statusCode: status, headers } = answer;
    if (body !== undefined && path !== undefined && status === 201) {
      for (const digest of blobsIn(body)) this.#known.set(`${path.repository}@${digest}`, 'referenced');
    }
    if (method === 'DELETE' && path?.kind === 'blobs' && status === 202) {
      this.#known.set(`${path.repository}@${path.reference}`, 'deleted');
    }
    const pushed = status === 201 ? pathOf(headers.location ?? '') : undefined;
    if (pushed?.kind !== 'blobs') return;
    const key = `${pushed.repository}@${pushed.reference}`;
    if (this.#known.get(key) === 'deleted') this.#known.delete(key);
  }
}

interface Path {
  readonly kind: string;
  readonly repository: string;
  readonly reference: string;
}

/** Parses the path of a manifest, a blob or a list; undefined for uploads and everything else. */
function pathOf(url: string): Path | undefined {
  const [path = ''] = url.split('?');
  if (path === '/v2/_catalog') return { kind: 'catalog', repository: '', reference: '' };
  const [, repository, kind, reference] = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(path) ?? [];
  if (repository === undefined || kind === undefined || reference === undefined) return undefined;
  return { kind, repository, reference: decodeURIComponent(reference) };
}

interface Document {
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
  readonly blobs?: readonly { readonly digest: string }[];
}

function blobsIn(manifest: Uint8Array): string[] {
  const { config, layers = [], blobs = [] } = JSON.parse(new TextDecoder().decode(manifest)) as Document;
  return [...(config === undefined ? [] : [config]), ...layers, ...blobs].map(({ digest }) => digest);
}

function basic({ name, password }: { readonly name: string; readonly password: string }): string {
  return `Basic ${btoa(`${name}:${password}`)}`;
}
