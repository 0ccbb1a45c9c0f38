/** Collection over the hosts of `hosts.ts`, with their clock: the tasks' context, and what they leave behind. */
import { env } from 'cloudflare:workers';
import { expect } from 'vitest';
import type { MaintenanceContext } from '../../src/maintenance/context.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import {
  bodyOf,
  bytesOf,
  contentDigest,
  GRACE,
  granted,
  type Image,
  imageOf,
  objectKeys,
  REPOSITORY,
} from './fixture.ts';
import { type Host, HOST_NAMES, type HostName, type Hosts } from './hosts.ts';
import { collectCentral, collectNode, collectTombstones, openRun, removeAppliedChanges, sweep } from './maintenance.ts';

export const HOUR = 3_600_000;

const DATABASES = { central: env.DB_CENTRAL, node1: env.DB_NODE1!, node2: env.DB_NODE2! } as const;
const BUCKETS = { central: env.BLOBS_CENTRAL, node1: env.BLOBS_NODE1!, node2: env.BLOBS_NODE2! } as const;

export function contextOf(hosts: Hosts, changes: Partial<MaintenanceContext> = {}): MaintenanceContext {
  const stores = { central: hosts.central.store, nodes: hosts.nodes.map(({ store }) => store) };
  return openRun({ ...stores, now: () => hosts.now }, changes);
}

/** Runs every task of collection once, at all stores. */
export async function collectAll(hosts: Hosts): Promise<void> {
  const context = contextOf(hosts);
  for (const { store } of hosts.all) await sweep(context, store);
  await collectCentral(context);
  for (const { store } of hosts.nodes) await collectNode(context, store);
  await collectTombstones(context);
  await removeAppliedChanges(context);
}

export async function pushBlob(
  { registry }: Host,
  seed: number,
  repository: RepositoryName = REPOSITORY,
): Promise<Digest> {
  const bytes = bytesOf(seed, 100);
  const digest = await contentDigest(bytes);
  await registry.putBlob(repository, digest, bodyOf(bytes));
  return digest;
}

/** Pushes an image of a config and a layer. */
export async function pushImage(
  host: Host,
  seed: number,
  tags: readonly string[],
  repository = REPOSITORY,
): Promise<Image> {
  const image = await imageOf(await pushBlob(host, seed, repository), [await pushBlob(host, seed + 1, repository)]);
  await putManifest(host, image, tags, repository);
  return image;
}

export function putManifest(
  { registry }: Host,
  image: Image,
  tags: readonly string[] = [],
  repository = REPOSITORY,
): Promise<number> {
  return registry.putManifest(repository, image.digest, image.manifest, image.bytes.byteLength, tags as Tag[]);
}

/** Reads a whole image by tag or digest. @throws if any part of it is missing */
export async function pull({ registry }: Host, reference: Tag | Digest, repository = REPOSITORY): Promise<void> {
  const isDigest = reference.includes(':');
  const manifest = await registry.getManifest(
    granted(repository),
    isDigest ? { kind: 'digest', digest: reference as Digest } : { kind: 'tag', tag: reference as Tag },
  );
  const { config, layers } = JSON.parse(manifest.text) as { config: { digest: Digest }; layers: { digest: Digest }[] };
  for (const { digest } of [config, ...layers]) {
    const blob = await registry.getBlob(granted(repository), digest);
    const bytes = await new Response(await blob.open()).arrayBuffer();
    if (bytes.byteLength !== 100) throw new Error(`${digest} has ${bytes.byteLength} bytes`);
  }
}

export async function rowsAt<Row = Record<string, unknown>>(
  host: HostName,
  query: string,
  ...parameters: unknown[]
): Promise<Row[]> {
  return (
    await DATABASES[host]
      .prepare(query)
      .bind(...parameters)
      .all<Row>()
  ).results;
}

/** Returns the stores of a blob's locations, by the rows of a host. */
export async function locationsOf(host: HostName, digest: Digest): Promise<string[]> {
  const rows = await rowsAt<{ store: string }>(
    host,
    'SELECT store FROM locations WHERE digest = ?1 ORDER BY store',
    digest,
  );
  return rows.map(({ store }) => store);
}

export function objectsAt(host: HostName): Promise<string[]> {
  return objectKeys(BUCKETS[host]);
}

export async function stoppedAt(host: HostName, task = 'collect'): Promise<string | null> {
  const rows = await rowsAt<{ stopped: string | null }>(
    host,
    'SELECT stopped FROM maintenance_tasks WHERE task = ?1',
    task,
  );
  return rows[0]?.stopped ?? null;
}

/** Expects that a blob that nothing references stays until its lease ends, and then goes with its link. */
export async function expectCollectedAfterLease(hosts: Hosts, host: HostName, collect: () => Promise<void>) {
  const blob = await pushBlob(hosts[host], 1);
  hosts.now += 2 * GRACE - 1;
  await collect();
  expect(await locationsOf(host, blob)).toEqual([host]);
  hosts.now += GRACE / 4;
  await collect();
  expect(await locationsOf(host, blob)).toEqual([]);
  expect(await rowsAt(host, 'SELECT * FROM links')).toEqual([]);
}

/** Tables that keep rows whatever was deleted. */
const LASTING = new Set([
  'clock',
  'change_log_positions',
  'maintenance_tasks',
  'maintenance_counters',
  'organizations',
  'credentials',
  'public_repositories',
  'mirrors',
  'audit',
]);

/** Returns the rows and objects left in all stores, except those that last. Totals of zero do not count. */
export async function leftovers(): Promise<string[]> {
  const found: string[] = [];
  for (const host of HOST_NAMES) {
    const tables = await rowsAt<{ name: string }>(
      host,
      `SELECT name FROM sqlite_master WHERE type = 'table'
         AND name NOT GLOB '_cf*' AND name NOT GLOB 'd1_*' AND name NOT GLOB 'sqlite_*'`,
    );
    for (const { name } of tables) {
      if (LASTING.has(name)) continue;
      const rows = await rowsAt(host, `SELECT * FROM ${name}`);
      const isSum = name === 'stored_bytes' || name === 'usage';
      const kept = isSum
        ? rows.filter((row) => Object.values(row).some((value) => typeof value === 'number' && value !== 0))
        : rows;
      found.push(...kept.map((row) => `${host} ${name} ${JSON.stringify(row)}`));
    }
    found.push(...(await objectsAt(host)).map((key) => `${host} object ${key}`));
  }
  return found;
}
