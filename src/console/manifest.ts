/**
 * Manifests as tenants wrote them. They have any media type, so any field may be missing or have another type than
 * expected. The API bounds their depth.
 */
import { z } from 'zod';
import type { RegistryClient } from './registry-client.ts';

/** The largest manifest that a page shows, in bytes. Escaping can make its text several times as large. */
export const MAX_SHOWN_BYTES = 64 * 1024;

/** The types of manifests that a page asks for. */
export const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  '*/*',
].join(', ');

const text = z.string().optional().catch(undefined);
const descriptor = z.object({
  digest: z.string(),
  size: z.number().nonnegative(),
  mediaType: text,
  artifactType: text,
  platform: z.object({ os: text, architecture: text, variant: text }).optional().catch(undefined),
});

/** Drops the entries that are not descriptors; undefined if the field is not a list. */
const descriptors = z
  .array(descriptor.nullable().catch(null))
  .transform((entries) => entries.filter((entry) => entry !== null))
  .optional()
  .catch(undefined);

const manifest = z.object({
  mediaType: text,
  config: descriptor.optional().catch(undefined),
  layers: descriptors,
  manifests: descriptors,
});

export type Descriptor = z.infer<typeof descriptor>;

/** Names a platform, such as `linux/arm64/v8`. */
export function platformOf(platform: Descriptor['platform']): string {
  if (platform === undefined) return 'any';
  return [platform.os, platform.architecture, platform.variant].filter((part) => part !== undefined).join('/');
}

export interface FoundManifest {
  readonly digest: string;
  /** Undefined if it is larger than {@link MAX_SHOWN_BYTES}. */
  readonly shown: ShownManifest | undefined;
}

export interface ShownManifest extends z.infer<typeof manifest> {
  /** The whole manifest, indented unless that makes it much larger. */
  readonly text: string;
}

/**
 * Reads a manifest to show it.
 * @param reference a tag or a digest
 * @throws RegistryError
 */
export async function readManifest(
  registry: RegistryClient,
  repository: string,
  reference: string,
): Promise<FoundManifest> {
  const { digest, text: stored } = await registry.textUpTo(
    MAX_SHOWN_BYTES,
    `/v2/${repository}/manifests/${reference}`,
    {
      Accept: ACCEPT,
    },
  );
  return { digest, shown: stored === undefined ? undefined : shownAs(stored) };
}

function shownAs(stored: string): ShownManifest {
  const document: unknown = JSON.parse(stored);
  const indented = JSON.stringify(document, undefined, 2);
  // Each line of a deeply nested document starts with many spaces.
  return { ...manifest.parse(document), text: indented.length <= 4 * MAX_SHOWN_BYTES ? indented : stored };
}
