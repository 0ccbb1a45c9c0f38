/**
 * The keys under which central probably has the blobs of manifests that a node has just served from central. A pull of
 * these blobs follows, and each would ask central's database for the row and then central's bucket for the bytes: two
 * trips. With the likely key, the node asks for both at once.
 *
 * A likely key answers nothing by itself: the node serves the bytes only if the row that it reads for the same request
 * names that key. So it may be old, or of a blob that the caller may not read.
 *
 * The node asks for no keys while a tag still names the manifest that it held at the last pull.
 */
import { BoundedCache } from '../../bounded-cache.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import type { BlobKey } from '../../stores/manifests/blob-keys.ts';

/** Room for the blobs of some hundred images. */
const REMEMBERED_BYTES = 1024 * 1024;
/** Room for some thousand tags. */
const HELD_BYTES = 512 * 1024;

export class LikelyKeys {
  readonly #keys = new BoundedCache<string>(REMEMBERED_BYTES);
  /** The manifests that tags named when the node last held them. */
  readonly #held = new BoundedCache<Digest>(HELD_BYTES);

  remember(repository: RepositoryName, blobs: readonly BlobKey[]): void {
    for (const { digest, key } of blobs) this.#keys.set(nameOf(repository, digest), key);
  }

  /** Returns the key; undefined if it is not known. */
  of(repository: RepositoryName, digest: Digest): string | undefined {
    return this.#keys.get(nameOf(repository, digest));
  }

  /** Remembers that the node holds the manifest of a tag, so a pull of this image needs no keys. */
  hold(repository: RepositoryName, tag: Tag, digest: Digest): void {
    this.#held.set(`${repository}:${tag}`, digest);
  }

  /** Returns the manifest of a tag that the node held last; undefined if it is not known. */
  held(repository: RepositoryName, tag: Tag): Digest | undefined {
    return this.#held.get(`${repository}:${tag}`);
  }

  forget(repository: RepositoryName, digest: Digest): void {
    this.#keys.delete(nameOf(repository, digest));
  }
}

/** Includes the repository, so that the time that an answer takes does not depend on what other repositories have. */
function nameOf(repository: RepositoryName, digest: Digest): string {
  return `${repository}@${digest}`;
}
