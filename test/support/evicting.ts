/** Evicting from node1 of `hosts.ts`. */
import { evict } from '../../src/maintenance/eviction/evict.ts';
import { storedBytes } from '../../src/maintenance/collection/delete-queue-rows.ts';
import { contextOf, HOUR, pushImage, rowsAt } from './collecting.ts';
import { GRACE, type Image } from './fixture.ts';
import type { Hosts } from './hosts.ts';

export const DAY = 24 * HOUR;

/** @param bytes that node1 may have; undefined for no limit, as `idleMilliseconds` */
export function run(hosts: Hosts, bytes: number | undefined, idleMilliseconds?: number): Promise<void> {
  return evict(contextOf(hosts), hosts.node1.store, { bytes, idleMilliseconds });
}

/** Digests of node1's live manifests. */
export async function manifests(): Promise<string[]> {
  const rows = await rowsAt<{ digest: string }>(
    'node1',
    'SELECT digest FROM manifests WHERE created_version > deleted_version ORDER BY digest',
  );
  return rows.map(({ digest }) => digest);
}

/** Bytes that node1 has. */
export async function used({ node1 }: Hosts): Promise<number> {
  return (await storedBytes(node1.store.database, 'node1')).bytes;
}

/** Settled images of 200 bytes each, pushed to node1 an hour apart, whose leases are over. */
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
