/** The blobs that an image shares with other images, as far as central knows. */
import type { Config } from '../config.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { NameRange } from '../stores/name-ranges.ts';
import { type SharedBlob, sharedBlobs } from '../stores/manifests/shared-blobs.ts';
import { composeStores } from './compose.ts';

export type { SharedBlob } from '../stores/manifests/shared-blobs.ts';

/**
 * Returns other images that have the config or a layer of this one, up to ten for each blob.
 * @param ranges the repositories that the caller may pull
 * @throws OciError UNAVAILABLE
 */
export function sharedBlobsOf(
  config: Config,
  env: object,
  image: { readonly repository: RepositoryName; readonly manifest: Digest },
  ranges: readonly NameRange[],
): Promise<SharedBlob[]> {
  const [{ database }] = composeStores(config, env);
  return sharedBlobs(database, image.repository, image.manifest, ranges);
}
