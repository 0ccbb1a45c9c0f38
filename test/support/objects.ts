/** The objects and rows of three hosts' stores, for tests that lose, spoil and repair objects. */
import { env } from 'cloudflare:workers';
import { vi } from 'vitest';
import type { MaintenanceContext } from '../../src/maintenance/context.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { openStore, type Store } from '../../src/stores/store.ts';
import { bytesOf, type Fixture, granted, REPOSITORY } from './fixture.ts';
import { type Host, HOST_NAMES, type HostName, type Hosts, openHosts } from './hosts.ts';
import { compareObjects, findWanted, openRun, repair, scrub } from './maintenance.ts';

export const DAY = 24 * 3_600_000;
export const ORPHAN_DAYS = 30;
const BYTES_PER_DAY = 1e12;

export const DATABASES: Record<HostName, D1Database> = {
  central: env.DB_CENTRAL,
  node1: env.DB_NODE1!,
  node2: env.DB_NODE2!,
};
export const BUCKETS: Record<HostName, R2Bucket> = {
  central: env.BLOBS_CENTRAL,
  node1: env.BLOBS_NODE1!,
  node2: env.BLOBS_NODE2!,
};

/** Opens hosts whose clock is the real time, which R2 also uses for objects. The nodes have applied the change log. */
export async function openHostsNow(): Promise<Hosts> {
  const hosts = await openHosts();
  hosts.now = Date.now();
  await hosts.drain();
  return hosts;
}

export function at({ registry }: Host): Fixture {
  return { registry } as unknown as Fixture;
}

export function contextOf(
  hosts: Hosts,
  bindings: object = env,
  changes: Partial<MaintenanceContext> = {},
): MaintenanceContext {
  const store = (name: HostName): Store => {
    const suffix = name.toUpperCase();
    const found = bindings as Readonly<Record<string, unknown>>;
    return openStore(name, found[`DB_${suffix}`] as D1Database, found[`BLOBS_${suffix}`] as R2Bucket);
  };
  const [central, ...nodes] = HOST_NAMES.map(store) as [Store, Store, Store];
  return openRun({ central, nodes, now: () => hosts.now }, changes);
}

/** Runs the integrity tasks at all stores, and returns the digests of repaired blobs. */
export async function lookAfter(context: MaintenanceContext, orphanDays = ORPHAN_DAYS): Promise<Digest[]> {
  const repaired: Digest[] = [];
  const note = async (_store: string, digest: Digest): Promise<void> => void repaired.push(digest);
  for (const store of [context.central, ...context.nodes]) {
    await repair(context, store, note);
    await compareObjects(context, store, orphanDays * DAY);
    if (store === context.central) await findWanted(context);
    await scrub(context, store, BYTES_PER_DAY);
    await repair(context, store, note);
  }
  return repaired;
}

/** Compares a store's objects with its rows once, and collects orphans after {@link ORPHAN_DAYS}. */
export async function compare(hosts: Hosts, name: HostName = 'central'): Promise<void> {
  const context = contextOf(hosts);
  const store = [context.central, ...context.nodes].find((each) => each.name === name);
  await compareObjects(context, store!, ORPHAN_DAYS * DAY);
}

/** Puts an object that no row names, as a crash between R2 and D1 leaves it. */
export async function leak(name: string, bucket = BUCKETS.central): Promise<string> {
  const key = `blobs/${name}`;
  await bucket.put(key, bytesOf(1, 10));
  return key;
}

interface LocationOf {
  readonly key: string;
  readonly damage: string | null;
}

export async function locationAt(
  name: HostName,
  digest: Digest,
  store: HostName = name,
): Promise<LocationOf | undefined> {
  const query = DATABASES[name].prepare('SELECT key, damage FROM locations WHERE digest = ?1 AND store = ?2');
  return (await query.bind(digest, store).first<LocationOf>()) ?? undefined;
}

export async function keyAt(name: HostName, digest: Digest): Promise<string> {
  const location = await locationAt(name, digest);
  if (location === undefined) throw new Error(`${name} has no location of ${digest}`);
  return location.key;
}

/** Removes a blob's object behind the registry's back. */
export async function lose(name: HostName, digest: Digest): Promise<void> {
  await BUCKETS[name].delete(await keyAt(name, digest));
}

/** Writes other bytes of the same length over a blob's object. */
export async function spoil(name: HostName, digest: Digest): Promise<void> {
  const key = await keyAt(name, digest);
  const object = await BUCKETS[name].get(key);
  const bytes = new Uint8Array(await object!.arrayBuffer());
  await BUCKETS[name].put(
    key,
    bytes.map((byte) => byte ^ 1),
  );
}

/** Reads a blob to its end, as a GET does. */
export async function read(host: Host, digest: Digest, repository: RepositoryName = REPOSITORY): Promise<Uint8Array> {
  const blob = await host.registry.getBlob(granted(repository), digest);
  return new Uint8Array(await new Response(await blob.open()).arrayBuffer());
}

export async function counterAt(name: HostName, counter: string): Promise<number> {
  const query = DATABASES[name].prepare('SELECT value FROM maintenance_counters WHERE name = ?1').bind(counter);
  return (await query.first<{ value: number }>())?.value ?? 0;
}

export async function orphansAt(name: HostName): Promise<string[]> {
  const { results } = await DATABASES[name].prepare('SELECT key FROM orphans ORDER BY key').all<{ key: string }>();
  return results.map(({ key }) => key);
}

/** Collects the JSON lines logged as errors from now on, without their times. */
export function errorLines(): object[] {
  const lines: object[] = [];
  const { error: print } = console;
  vi.spyOn(console, 'error').mockImplementation((text: string) => {
    const { time: _, ...line } = JSON.parse(text) as Record<string, unknown>;
    lines.push(line);
    print(text);
  });
  return lines;
}
