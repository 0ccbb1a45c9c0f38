/** Eviction from node1 of `hosts.ts`. */
import { contextOf, HOUR, pushImage, rowsAt } from './collecting.ts';
import { GRACE, type Image } from './fixture.ts';
import type { Hosts } from './hosts.ts';
import { evict } from './maintenance.ts';

export const DAY = 24 * HOUR;

/** Runs eviction at node1. @param bytes node1's limit; undefined for no limit, like `idleMilliseconds` */
export function run(hosts: Hosts, bytes: number | undefined, idleMilliseconds?: number): Promise<void> {
  return evict(contextOf(hosts), hosts.node1.store, { bytes, idleMilliseconds });
}

/** Returns the digests of node1's live manifests. */
export async function manifests(): Promise<string[]> {
  const rows = await rowsAt<{ digest: string }>(
    'node1',
    'SELECT digest FROM manifests WHERE created_version > deleted_version ORDER BY digest',
  );
  return rows.map(({ digest }) => digest);
}

/** Returns the bytes that node1 holds. */
export async function used(): Promise<number> {
  const [row] = await rowsAt<{ bytes: number | null }>('node1', 'SELECT sum(size) AS bytes FROM locations');
  return row?.bytes ?? 0;
}

/** Pushes images of 200 bytes to node1, an hour apart. Returns them settled, with their leases over. */
export async function settled(hosts: Hosts, ...tags: string[]): Promise<Image[]> {
  const images: Image[] = [];
  for (const [i, tag] of tags.entries()) {
    images.push(await pushImage(hosts.node1, 10 * (i + 1), [tag]));
    hosts.now += HOUR;
  }
  await hosts.drain();
  hosts.now += 2 * GRACE;
  return images;
}
