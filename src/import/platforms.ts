/** Chooses the manifests of an index by their platforms. The index itself is never changed. */
import type { Descriptor } from '../oci-client/descriptor.ts';

/** BuildKit marks the attestations of an image this way, because they have no platform. */
const REFERENCE = 'vnd.docker.reference.digest';

/**
 * Returns the manifests for the platforms, such as `linux/arm64` or `linux/arm/v7`, and their attestations. Manifests
 * without a platform are for all.
 */
export function selectPlatforms(platforms: readonly string[], children: readonly Descriptor[]): Descriptor[] {
  const isFor = ({ platform: { os, architecture, variant } = {} }: Descriptor): boolean =>
    platforms.some((wanted) => wanted === `${os}/${architecture}` || wanted === `${os}/${architecture}/${variant}`);
  const chosen = new Set(children.filter(isFor).map(({ digest }) => digest as string));
  return children.filter((child) => {
    const { platform, annotations } = child;
    const about = annotations?.[REFERENCE];
    if (about !== undefined) return chosen.has(about);
    return platform?.os === undefined || chosen.has(child.digest);
  });
}
