/**
 * The platforms of images that no index lists. Only the config of such an image names its platform, so a page of tags
 * reads the configs that no page has read yet, a few at a time, and notes what they say beside the manifests.
 */
import { z } from 'zod';
import type { Digest } from '../oci/digest.ts';
import { boundedJson } from '../oci/json-limits.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { sql } from '../stores/database.ts';
import { forPage } from '../stores/deadline.ts';
import type { Store } from '../stores/store.ts';
import { MOST_CHARACTERS } from './tag-state-rows.ts';

/** The most configs that one page reads. */
const MOST_CONFIGS = 10;

/** A config that no page has read yet. */
export interface UnreadConfig {
  /** The store that has its bytes, and their key there. */
  readonly store: Store;
  readonly key: string;
  /** The image's manifest. */
  readonly digest: Digest;
}

/** Platforms by the digests of manifests; '' for a config that names none. */
export type Platforms = ReadonlyMap<Digest, string>;

/** Reads some of the configs. Leaves out those whose bytes do not come within a second. */
export async function readPlatforms(unread: readonly UnreadConfig[]): Promise<Platforms> {
  const read = await Promise.all(
    unread.slice(0, MOST_CONFIGS).map(async ({ store, key, digest }) => {
      const text = await forPage(textAt(store, key));
      return text === undefined ? [] : [[digest, platformIn(text)] as const];
    }),
  );
  return new Map(read.flat());
}

async function textAt({ bucket }: Store, key: string): Promise<string | undefined> {
  const content = await bucket.get(key);
  return content === undefined ? undefined : new Response(content).text();
}

const part = z.string().min(1);
const config = z.object({ os: part, architecture: part, variant: part.optional().catch(undefined) });

/** Returns the platform in a config that a tenant wrote, such as `linux/arm64/v8`; '' if it names none. */
export function platformIn(text: string): string {
  const { data } = config.safeParse(boundedJson(text));
  if (data === undefined) return '';
  const { os, architecture, variant } = data;
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/').slice(0, MOST_CHARACTERS);
}

const NOTE = sql`
  UPDATE manifests SET image_platform = json_extract(?2, '$."' || digest || '"')
  WHERE repository = ?1 AND digest IN (SELECT key FROM json_each(?2))`;

/** Notes the platforms of images in the store that has their configs. */
export async function notePlatforms(
  { database }: Store,
  repository: RepositoryName,
  platforms: Platforms,
): Promise<void> {
  await database.run(NOTE, repository, JSON.stringify(Object.fromEntries(platforms)));
}
