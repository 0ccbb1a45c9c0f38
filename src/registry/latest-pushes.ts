/** The pushes that central knows of, in all repositories: the latest ones, and how many there were by the hour. */
import type { Config } from '../config.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { VERSIONS_PER_MILLISECOND } from '../stores/clock.ts';
import {
  documentsByHour,
  HOURS_OF_DOCUMENTS,
  type HourOfDocuments,
} from '../stores/manifests/documents-by-hour-rows.ts';
import { latestPushes } from '../stores/manifests/latest-pushes.ts';
import type { NameRange } from '../stores/name-ranges.ts';
import { composeStores } from './compose.ts';

export { HOURS_OF_DOCUMENTS };

interface Push {
  readonly repository: RepositoryName;
  readonly tag: Tag;
  /** Milliseconds since the epoch. */
  readonly pushedAt: number;
  /** The store that took the push. */
  readonly origin: string;
}

/**
 * Returns the latest pushes of tags in the ranges, latest first: central's own, and those that nodes announced to it.
 * @throws OciError UNAVAILABLE
 */
export async function latestPushesOf(
  config: Config,
  env: object,
  ranges: readonly NameRange[],
  limit: number,
): Promise<Push[]> {
  const [central] = composeStores(config, env);
  return (await latestPushes(central.database, ranges, limit)).map(({ repository, tag, version, origin }) => ({
    repository,
    tag,
    pushedAt: Math.floor(version / VERSIONS_PER_MILLISECOND),
    origin,
  }));
}

/**
 * Returns the number of manifests that were new to central in each of the last hours, oldest first.
 * @throws OciError UNAVAILABLE
 */
export function pushesByHourOf(config: Config, env: object, now: number, hours: number): Promise<HourOfDocuments[]> {
  const [central] = composeStores(config, env);
  return documentsByHour(central.database, now, hours);
}
