/**
 * Copies an image from one place to another: a manifest, the blobs that it names, the manifests that it lists, and the
 * manifests that refer to it. Nothing is named before it is there: blobs come first, then the manifests that name them,
 * then the indexes that list those. The tag is set last.
 */
import type { Digest } from '../oci/digest.ts';
import { isNonDistributable } from '../oci/media-type.ts';
import type { Content } from './content.ts';
import { type Descriptor, linksOf, type ManifestLinks, type StoredManifest } from './descriptor.ts';
import { sideBySide } from './side-by-side.ts';

export interface ImageSource {
  /** @throws Error saying where it is missing, or that its bytes are not those of the digest */
  readManifest(descriptor: Pick<Descriptor, 'digest' | 'mediaType'>): Promise<StoredManifest>;
  contentOf(blob: Descriptor): Content;
  /** Lists the manifests whose subject this is. */
  referrers(digest: Digest): Promise<readonly Descriptor[]>;
}

export type BlobEnd = 'exists' | 'mounted' | 'done';

export interface ImageDestination {
  /** Returns whether a manifest is there. If so, all content that it names is there too. */
  hasManifest(digest: Digest): Promise<boolean>;
  /** @param onBytes is told how many bytes have passed */
  putBlob(content: Content, onBytes: (bytes: number) => void): Promise<BlobEnd>;
  /** @param tag undefined for a manifest that only its digest names */
  putManifest(manifest: StoredManifest, tag: string | undefined): Promise<void>;
}

export interface CopyOptions {
  /** The tag at the destination; undefined for none. */
  readonly tag: string | undefined;
  /** Whether the manifests that refer to the image are copied, and those that refer to them. */
  readonly referrers: boolean;
  /** Chooses which manifests of an index are copied; all of them by default. */
  readonly select?: (children: readonly Descriptor[]) => readonly Descriptor[];
  /** The most blobs, or manifests, that are copied at once. */
  readonly jobs: number;
  /** Ends the copy. A failure aborts it, too. */
  readonly abort: AbortController;
  readonly progress: CopyProgress;
}

/** Receives the progress of a copy. */
export interface CopyProgress {
  /** Called once, before any other. */
  planned(blobs: readonly Descriptor[]): void;
  bytes(digest: Digest, bytes: number): void;
  ended(digest: Digest, how: BlobEnd): void;
}

/** A manifest of the image, and the number of levels of manifests below it. */
interface Planned {
  readonly manifest: StoredManifest;
  readonly links: ManifestLinks;
  readonly height: number;
}

/** @param root the manifest that the tag will name */
export async function copyImage(
  source: ImageSource,
  destination: ImageDestination,
  root: StoredManifest,
  options: CopyOptions,
): Promise<void> {
  const { jobs, abort, progress } = options;
  const plan = new Plan(source, options);
  await plan.add(root);
  const manifests = [...plan.manifests.values()];
  const present = new Set<Digest>();
  await sideBySide(manifests, jobs, abort, async ({ manifest: { digest }, links }) => {
    // A registry may lack manifests that an index lists, but not blobs that an image names.
    if (links.children.length === 0 && (await destination.hasManifest(digest))) present.add(digest);
  });
  const blobs = blobsOf(manifests);
  const missing = new Set(
    blobsOf(manifests.filter(({ manifest }) => !present.has(manifest.digest))).map(({ digest }) => digest),
  );
  progress.planned(blobs);
  await sideBySide(blobs, jobs, abort, async (blob) => {
    const onBytes = (bytes: number): void => progress.bytes(blob.digest, bytes);
    const end = missing.has(blob.digest) ? await destination.putBlob(source.contentOf(blob), onBytes) : 'exists';
    progress.ended(blob.digest, end);
  });
  const inner = manifests.filter(({ manifest: { digest } }) => digest !== root.digest && !present.has(digest));
  for (let height = 0; height <= plan.height; height += 1) {
    const level = inner.filter((planned) => planned.height === height);
    await sideBySide(level, jobs, abort, ({ manifest }) => destination.putManifest(manifest, undefined));
  }
  await destination.putManifest(root, options.tag);
}

/** Everything that belongs to an image, each manifest once. */
class Plan {
  readonly manifests = new Map<Digest, Planned>();
  /** The largest height of all. */
  height = 0;
  readonly #source: ImageSource;
  readonly #options: Pick<CopyOptions, 'referrers' | 'select'>;

  constructor(source: ImageSource, options: Pick<CopyOptions, 'referrers' | 'select'>) {
    this.#source = source;
    this.#options = options;
  }

  /** Adds a manifest and what belongs to it. @returns its height */
  async add(manifest: StoredManifest): Promise<number> {
    const known = this.manifests.get(manifest.digest);
    if (known !== undefined) return known.height;
    const links = linksOf(manifest);
    const { referrers, select = (children) => children } = this.#options;
    let height = 0;
    for (const child of select(links.children)) {
      height = Math.max(height, 1 + (await this.add(await this.#source.readManifest(child))));
    }
    this.manifests.set(manifest.digest, { manifest, links, height });
    this.height = Math.max(this.height, height);
    if (referrers) {
      for (const referrer of await this.#source.referrers(manifest.digest)) {
        await this.add(await this.#source.readManifest(referrer));
      }
    }
    return height;
  }
}

/** Returns the blobs that manifests name, each once, without those that a registry may not pass on. */
function blobsOf(manifests: readonly Planned[]): Descriptor[] {
  const blobs = manifests.flatMap(({ links }) => links.blobs).filter(({ mediaType }) => !isNonDistributable(mediaType));
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}
