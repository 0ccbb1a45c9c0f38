/** A registry over the test's D1 and R2, with a clock that the test drives and bindings that count calls. */
import { env } from 'cloudflare:workers';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import { type Algorithm, type Digest, digestOf } from '../../src/oci/digest.ts';
import { type Manifest, parseManifest } from '../../src/oci/manifest.ts';
import { type RepositoryName, type Tag } from '../../src/oci/reference.ts';
import type { ReadAccess } from '../../src/registry/access.ts';
import type { Body, PresentedSession, UploadProgress } from '../../src/registry/registry.ts';
import { StoredRegistry } from '../../src/registry/stored.ts';
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import { BufferBudget } from '../../src/stores/uploads/buffer-budget.ts';
import { openStore } from '../../src/stores/store.ts';
import { TABLES } from './bindings.ts';
import { countD1, countR2, type Counts, noCounts } from './counting.ts';

export const REPOSITORY = 'alice/app' as RepositoryName;
export const SUBJECT = 'credential-of-alice';
export const GRACE = 24 * 3_600_000;

export interface Fixture {
  readonly registry: StoredRegistry;
  readonly counts: Counts;
  /** Milliseconds since the epoch. Tests set it. */
  now: number;
  /** The number of times that the replication queue was woken. */
  wakes: number;
  /** Waits for work deferred until after a response. */
  settled(): Promise<void>;
  /** Opens another fixture over the same stores, as another isolate would. */
  fresh(options?: FixtureOptions): Promise<Fixture>;
}

export interface FixtureOptions {
  readonly budget?: BufferBudget;
  readonly announces?: boolean;
  readonly now?: number;
  readonly bucket?: R2Bucket;
  readonly database?: D1Database;
}

export async function openFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const counts = noCounts();
  const database = countD1(options.database ?? env.DB_CENTRAL, counts);
  const bucket = countR2(options.bucket ?? env.BLOBS_CENTRAL, counts);
  const store = openStore('central', database, bucket);
  let deferred: Promise<unknown>[] = [];
  const fixture: Fixture = {
    now: options.now ?? Date.UTC(2026, 0, 2),
    wakes: 0,
    counts,
    registry: new StoredRegistry(store, {
      signer: await SigningKeys.import([btoa('k'.repeat(32))]),
      budget: options.budget ?? new BufferBudget(),
      graceMilliseconds: GRACE,
      limits: DEFAULT_LIMITS,
      now: () => fixture.now,
      defer: (work) => void deferred.push(work),
      announces: options.announces ?? false,
      wake: () => void fixture.wakes++,
      storeOf: (name) => (name === 'central' ? store : undefined),
    }),
    async settled() {
      const pending = deferred;
      deferred = [];
      await Promise.all(pending);
    },
    fresh: (others = {}) => openFixture({ ...options, now: fixture.now, ...others }),
  };
  return fixture;
}

export function granted(repository: RepositoryName = REPOSITORY): ReadAccess {
  return { repository, condition: 'granted' };
}

export function ifPublic(repository: RepositoryName = REPOSITORY): ReadAccess {
  return { repository, condition: 'if-public' };
}

export function session(
  progress: UploadProgress,
  repository: RepositoryName = REPOSITORY,
  subject = SUBJECT,
): PresentedSession {
  return { repository, subject, reference: progress.reference };
}

/** Deterministic bytes that do not compress or repeat. */
export function bytesOf(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** Returns a body as a request brings it, with its length or chunked. */
export function bodyOf(bytes: Uint8Array<ArrayBuffer>, length: 'known' | 'unknown' = 'known'): Body {
  const request = new Request('http://registry/', { method: 'PUT', body: bytes });
  return { stream: request.body!, length: length === 'known' ? bytes.byteLength : undefined };
}

/** Returns a body that breaks off after `bytes`. */
export function brokenBody(bytes: Uint8Array<ArrayBuffer>, length: number | undefined): Body {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  void writer
    .write(bytes)
    .then(() => writer.abort(new Error('the client went away')))
    .catch(() => undefined);
  return { stream: readable, length };
}

/** The lengths, in bytes, of contents whose digests tests have computed. */
const lengths = new Map<Digest, number>();

/** Returns the digest of a content, and remembers its length for descriptors. */
export async function contentDigest(bytes: Uint8Array<ArrayBuffer>, algorithm: Algorithm = 'sha256'): Promise<Digest> {
  const digest = await digestOf(algorithm, bytes);
  lengths.set(digest, bytes.byteLength);
  return digest;
}

/** Declares the length of the content behind a made-up digest. */
export function ofLength(digest: Digest, bytes: number): Digest {
  lengths.set(digest, bytes);
  return digest;
}

export async function pushBlob(
  { registry }: Fixture,
  bytes: Uint8Array<ArrayBuffer>,
  repository: RepositoryName = REPOSITORY,
  algorithm: Algorithm = 'sha256',
): Promise<Digest> {
  const digest = await contentDigest(bytes, algorithm);
  await registry.putBlob(repository, digest, bytes.byteLength === 0 ? undefined : bodyOf(bytes));
  return digest;
}

const OCI = 'application/vnd.oci.image';

export interface Image {
  readonly digest: Digest;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly manifest: Manifest;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes; 1 if the length is unknown. */
  readonly size: number;
}

export function descriptorOf(digest: Digest, mediaType: string): Descriptor {
  return { mediaType, digest, size: lengths.get(digest) ?? 1 };
}

/** Returns the descriptor that names an image as a subject. */
export function subjectOf({ digest, manifest }: Image): Descriptor {
  return descriptorOf(digest, manifest.mediaType);
}

/** Returns an image manifest. Its blobs need not have been pushed. */
export async function imageOf(
  config: Digest,
  layers: readonly Digest[],
  extra: Readonly<Record<string, unknown>> = {},
): Promise<Image> {
  return documentOf(`${OCI}.manifest.v1+json`, {
    config: descriptorOf(config, `${OCI}.config.v1+json`),
    layers: layers.map((layer) => descriptorOf(layer, `${OCI}.layer.v1.tar`)),
    ...extra,
  });
}

export async function indexOf(
  children: readonly Digest[],
  extra: Readonly<Record<string, unknown>> = {},
): Promise<Image> {
  const manifests = children.map((digest) => descriptorOf(digest, `${OCI}.manifest.v1+json`));
  return documentOf(`${OCI}.index.v1+json`, { manifests, ...extra });
}

export async function documentOf(mediaType: string, fields: Readonly<Record<string, unknown>>): Promise<Image> {
  const bytes = utf8(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
  return { bytes, digest: await contentDigest(bytes), manifest: parseManifest(bytes, mediaType) };
}

export async function pushImage(
  { registry }: Fixture,
  image: Image,
  tags: readonly string[] = [],
  repository = REPOSITORY,
): Promise<void> {
  await registry.putManifest(repository, image.digest, image.manifest, image.bytes.byteLength, tags as Tag[]);
}

/** Pushes an image of one config and one layer. */
export async function pushSmallImage(
  fixture: Fixture,
  seed: number,
  tags: readonly string[],
  repository = REPOSITORY,
): Promise<Image> {
  const config = await pushBlob(fixture, bytesOf(seed, 20), repository);
  const layer = await pushBlob(fixture, bytesOf(seed + 1, 40), repository);
  const image = await imageOf(config, [layer]);
  await pushImage(fixture, image, tags, repository);
  return image;
}

/** Lists the keys of all objects in a bucket. */
export async function objectKeys(bucket: R2Bucket = env.BLOBS_CENTRAL): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | undefined;
  do {
    const page: R2Objects = await bucket.list(cursor === undefined ? {} : { cursor });
    keys.push(...page.objects.map(({ key }) => key));
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor !== undefined);
  return keys.toSorted();
}

export async function rowsOf<Row>(query: string, ...parameters: (string | number)[]): Promise<Row[]> {
  const { results } = await env.DB_CENTRAL.prepare(query)
    .bind(...parameters)
    .all<Row>();
  return results;
}

/** Returns objects that are neither a blob's location nor a chunk of an upload, and are not in the delete queue. */
export async function unreferencedObjects(): Promise<string[]> {
  const rows = await rowsOf<{ key: string }>(
    `SELECT key FROM locations UNION SELECT key FROM upload_chunks UNION SELECT key FROM delete_queue
      UNION SELECT key FROM uploads WHERE state <> 'finished' OR leftover = 1`,
  );
  const known = new Set(rows.map(({ key }) => key));
  return (await objectKeys()).filter((key) => !known.has(key));
}

/** Rows to leave out of snapshots: refused logins are counted even if nothing else changes. */
const REFUSED: Readonly<Record<string, string>> = { audit: " WHERE action <> 'refuse login'" };

/**
 * Returns all rows and object keys of a store, to prove that something changed nothing. It leaves out the nodes'
 * positions in the change log, which advance on their own.
 */
export async function snapshot(database = env.DB_CENTRAL, bucket = env.BLOBS_CENTRAL): Promise<string> {
  const all = async <Row>(query: string): Promise<Row[]> => (await database.prepare(query).all<Row>()).results;
  const tables = await all<{ name: string }>(
    `SELECT name FROM sqlite_master WHERE ${TABLES} AND name <> 'change_log_positions'`,
  );
  const contents = await Promise.all(
    tables.map(async ({ name }) => [name, await all(`SELECT * FROM ${name}${REFUSED[name] ?? ''}`)] as const),
  );
  return JSON.stringify([contents, await objectKeys(bucket)]);
}

/** Like {@link snapshot}, without the times of the last use or pull, which do not count as changes. */
export async function snapshotWithoutUse(database = env.DB_CENTRAL, bucket = env.BLOBS_CENTRAL): Promise<string> {
  return (await snapshot(database, bucket)).replaceAll(/"last_(?:pull|used_at)":(?:\d+|null)/g, '');
}

export async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  return new Response(stream).text();
}

export async function bytesIn(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function utf8(content: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(new TextEncoder().encode(content));
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}

/** Returns the first item of a list that must have one. */
export function first<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined) throw new Error('the list is empty');
  return item;
}
