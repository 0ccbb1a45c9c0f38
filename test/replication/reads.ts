/** Reads as clients make them, in one call each. */
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { bytesIn, granted } from '../support/fixture.ts';
import type { Host } from '../support/hosts.ts';

export async function readBlob({ registry }: Host, repository: RepositoryName, digest: Digest): Promise<Uint8Array> {
  const blob = await registry.getBlob(granted(repository), digest);
  return bytesIn(await blob.open());
}

/** Returns all tags, read in pages. */
export async function tagsOf({ registry }: Host, repository: RepositoryName, limit: number): Promise<string[]> {
  const tags: string[] = [];
  for (let after = ''; ;) {
    const page = await registry.listTags(granted(repository), { limit, after });
    tags.push(...page.items);
    if (page.last === undefined) return tags;
    after = page.last;
  }
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}

export function itemAt<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new Error(`the list has no item ${index}`);
  return item;
}
