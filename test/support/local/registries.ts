/** Runs registries other than Berth as processes, and fills them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../../src/local/simulators.ts';
import { buildGoProgram } from '../../e2e/go-program.ts';
import { type LocalImage, sha256 } from './push.ts';
import { until } from './server.ts';
import { type Document, type MemoryUpstream, OCI_IMAGE, OCI_INDEX } from './upstream.ts';

export const LOGIN = { user: 'reader', secret: 'registry-dev' };
/** The line of the login in an htpasswd file: these registries take only bcrypt. */
const HTPASSWD = 'reader:$2b$05$M7bHFvHdorObyoFOrFu3ye/vR5u3SNoivClGXas1.2WDJ2GVnxvYW';

/** Debian's package. */
export const DEBIAN = 'docker-registry';

/** Returns the program of distribution 3. Its first build takes minutes. */
export function distribution(): Promise<string> {
  return buildGoProgram('github.com/distribution/distribution/v3/cmd/registry', 'v3.1.2');
}

/** Where images are pushed to. */
export interface Destination {
  readonly url: string;
  /** The value of the header; undefined for none. */
  readonly authorization?: string | undefined;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const registry of running) registry.kill();
});

export interface OtherRegistry extends Destination {
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a registry.
 * @param folder keeps its content
 * @param login whether it asks for {@link LOGIN}
 * @param at its port; a free one by default
 * @param upstream makes it a proxy of this registry
 */
export async function startRegistry(
  program: string,
  folder: string,
  login = false,
  at?: number,
  upstream?: string,
): Promise<OtherRegistry> {
  const port = at ?? (await freePort());
  const htpasswd = join(folder, 'htpasswd');
  await writeFile(htpasswd, `${HTPASSWD}\n`);
  const config = {
    version: 0.1,
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: join(folder, 'content') } },
    http: { addr: `127.0.0.1:${port}`, secret: 'of-these-tests' },
    validation: { manifests: { urls: { allow: ['^https://'] } } },
    ...(upstream !== undefined && { proxy: { remoteurl: upstream } }),
    ...(login && { auth: { htpasswd: { realm: 'registry', path: htpasswd } } }),
  };
  const file = join(folder, 'config.yml');
  await writeFile(file, JSON.stringify(config));
  const env = { ...process.env, OTEL_TRACES_EXPORTER: 'none' };
  const child = spawn(program, ['serve', file], { stdio: 'ignore', env });
  let failure: unknown;
  child.on('error', (error) => (failure = error));
  running.add(child);
  const ended = once(child, 'exit').finally(() => running.delete(child));
  const url = `http://localhost:${port}`;
  await until(async () => {
    if (failure !== undefined || child.exitCode !== null)
      throw new Error(`${program} does not run: install Debian’s docker-registry, or Go`, { cause: failure });
    return (await fetch(`${url}/v2/`).catch(() => undefined)) !== undefined;
  });
  return {
    url,
    authorization: login ? `Basic ${btoa(`${LOGIN.user}:${LOGIN.secret}`)}` : undefined,
    stop: async (signal) => {
      child.kill(signal);
      await ended;
    },
  };
}

export async function pushTo(to: Destination, repository: string, tag: string, image: LocalImage): Promise<void> {
  for (const blob of image.blobs) await pushBlob(to, repository, sha256(blob), blob);
  await pushManifest(to, repository, tag, { mediaType: OCI_IMAGE, bytes: image.manifest });
}

/**
 * Pushes the whole content of a registry in this process.
 * @param nameOf gives each repository its name there
 * @param isNew whether it has digests besides sha256, and lists of referrers. If not, such a list is kept under a tag
 */
export async function pushAll(
  from: MemoryUpstream,
  to: Destination,
  nameOf: (name: string) => string,
  isNew: boolean,
): Promise<void> {
  for (const repository of from.repositories) {
    const documents = from.documentsOf(repository);
    const name = nameOf(repository);
    const text = [...documents.values()].map(({ bytes }) => bytes.toString()).join();
    const named = new Set(Array.from(text.matchAll(/"digest":"([^"]+)"/g), ([, digest = '']) => digest));
    for (const digest of [...named].filter((each) => from.hasBlob(each))) {
      await pushBlob(to, name, digest, from.content(digest));
    }
    // By digest first: an index is listed after its manifests, which have no tags.
    for (const [reference, document] of documents) {
      const isDigest = reference === document.digest;
      if (isDigest && (isNew || reference.startsWith('sha256:'))) await pushManifest(to, name, reference, document);
    }
    for (const [tag, document] of documents) {
      if (tag === document.digest) continue;
      await pushManifest(to, name, isNew ? `${document.digest}?tag=${tag}` : tag, document);
    }
    if (!isNew) await pushReferrersTags(to, name, [...new Set(documents.values())]);
  }
}

/** Keeps lists of referrers as clients do (distribution-spec, "Referrers Tag Schema"). */
async function pushReferrersTags(to: Destination, repository: string, documents: readonly Document[]): Promise<void> {
  const referrers = documents.flatMap(({ mediaType, digest, bytes }) => {
    const { subject } = JSON.parse(bytes.toString()) as { subject?: { readonly digest: string } };
    return subject === undefined ? [] : [{ of: subject.digest, mediaType, digest, size: bytes.byteLength }];
  });
  for (const [of, manifests] of Map.groupBy(referrers, (each) => each.of)) {
    const listed = manifests.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }));
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: listed }));
    await pushManifest(to, repository, of.replace(':', '-'), { mediaType: OCI_INDEX, bytes });
  }
}

async function pushBlob(to: Destination, repository: string, digest: string, content: Buffer): Promise<void> {
  const opened = await send(to, `/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const at = new URL(opened.headers.get('Location') ?? '', to.url);
  at.searchParams.set('digest', digest);
  await send(to, at.href, { method: 'PUT', body: new Uint8Array(content) });
}

async function pushManifest(
  to: Destination,
  repository: string,
  reference: string,
  { mediaType, bytes }: Pick<Document, 'mediaType' | 'bytes'>,
): Promise<void> {
  const headers = { 'Content-Type': mediaType };
  await send(to, `/v2/${repository}/manifests/${reference}`, { method: 'PUT', headers, body: new Uint8Array(bytes) });
}

async function send({ url, authorization }: Destination, path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (authorization !== undefined) headers.set('Authorization', authorization);
  const answer = await fetch(new URL(path, url), { ...init, headers });
  if (!answer.ok) throw new Error(`${init.method} ${path} was answered ${answer.status}: ${await answer.text()}`);
  return answer;
}
