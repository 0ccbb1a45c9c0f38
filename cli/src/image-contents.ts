/** The contents of an image, and the other images of its repository that share its layers. */
import { type Descriptor, linksOf, type ManifestLinks, type StoredManifest } from '../../src/oci-client/descriptor.ts';
import type { Repository } from '../../src/oci-client/repository.ts';

/**
 * The most manifests that are read at once, and in all, for the contents of an index or for images that share layers.
 */
const [AT_ONCE, MOST] = [8, 100];

export interface Contents {
  readonly manifest: StoredManifest;
  readonly links: ManifestLinks;
  /** The images of an index. */
  readonly children: readonly Child[];
}

export interface Child {
  readonly descriptor: Descriptor;
  /** Undefined if the registry does not have the manifest. */
  readonly links: ManifestLinks | undefined;
}

export interface Sharing {
  /** The tags of the other images that have a blob, by the blob's digest. */
  readonly tags: ReadonlyMap<string, readonly string[]>;
  /** Whether all tags were looked at. */
  readonly isComplete: boolean;
}

export async function contentsOf(repository: Repository, manifest: StoredManifest): Promise<Contents> {
  const links = linksOf(manifest);
  const children: Child[] = [];
  await forEach(links.children.slice(0, MOST), async (descriptor) => {
    const child = await repository.getManifest(descriptor.digest);
    children.push({ descriptor, links: child === undefined ? undefined : linksOf(child) });
  });
  const order = links.children.map(({ digest }) => digest);
  return { manifest, links, children: children.toSorted((a, b) => indexOf(order, a) - indexOf(order, b)) };
}

function indexOf(order: readonly string[], { descriptor }: Child): number {
  return order.indexOf(descriptor.digest);
}

/** Returns each blob of an image once; for an index, the blobs of all its images. */
export function blobsOf({ links, children }: Contents): Descriptor[] {
  const all = [links, ...children.flatMap((child) => child.links ?? [])].flatMap(({ blobs }) => blobs);
  return [...new Map(all.map((blob) => [blob.digest, blob])).values()];
}

/** Looks for the image's blobs in the other images of its repository. */
export async function sharingOf(repository: Repository, contents: Contents): Promise<Sharing> {
  const wanted = new Set<string>(blobsOf(contents).map(({ digest }) => digest));
  const own = new Set<string>([contents.manifest.digest, ...contents.links.children.map(({ digest }) => digest)]);
  const found = new Map<string, Set<string>>();
  const names = (await repository.tags()) ?? [];
  let reads = 0;
  const look = async (tag: string, reference: string): Promise<void> => {
    if (reads >= MOST) return;
    reads += 1;
    const manifest = await repository.getManifest(reference);
    if (manifest === undefined || own.has(manifest.digest)) return;
    const { blobs, children } = linksOf(manifest);
    for (const { digest } of blobs) {
      if (wanted.has(digest)) found.set(digest, (found.get(digest) ?? new Set()).add(tag));
    }
    for (const child of children) if (!own.has(child.digest)) await look(tag, child.digest);
  };
  await forEach(names, (tag) => look(tag, tag));
  const tags = new Map([...found].map(([digest, each]) => [digest, [...each].toSorted()]));
  return { tags, isComplete: reads < MOST };
}

/** Runs a task for each item, several at once. */
async function forEach<Item>(items: readonly Item[], task: (item: Item) => Promise<void>): Promise<void> {
  const rest = items.values();
  const work = async (): Promise<void> => {
    for (const item of rest) await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, work));
}
