/**
 * The usage of organizations as it is shown. Central's rows have what central counts; a node's rows have what the node
 * has yet to announce.
 */
import type { OrganizationName } from '../../oci/reference.ts';
import { type Database, sql, sqlOfWholeTable } from '../database.ts';
import { asManyAs } from '../rows-read.ts';
import { COUNTED } from './usage-rows.ts';

export interface OrganizationUsage {
  /** Bytes of distinct blobs and manifests and of open uploads, which the quota limits. */
  readonly used: number;
  /**
   * Bytes of open uploads, and of blobs that no manifest of their repository has referenced yet. They are part of
   * `used`.
   */
  readonly in_flight: number;
  /** Distinct blobs that count, and their bytes below. */
  readonly blobs: number;
  readonly bytes: number;
  /** Live manifests of all repositories, and the bytes of the distinct ones below. */
  readonly manifests: number;
  readonly manifest_bytes: number;
  /** Visible tags. */
  readonly tags: number;
  /** Repositories with live manifests, according to the store's own rows. */
  readonly repositories: number;
  /** The quota in bytes; null for no limit. */
  readonly quota: number | null;
}

const NO_USAGE: OrganizationUsage = {
  used: 0,
  in_flight: 0,
  blobs: 0,
  bytes: 0,
  manifests: 0,
  manifest_bytes: 0,
  tags: 0,
  repositories: 0,
  quota: null,
};

const USAGE_COLUMNS = `coalesce(${COUNTED('u')}, 0) AS used, coalesce(u.unreferenced + u.uploading, 0) AS in_flight,
  coalesce(u.blobs, 0) AS blobs, coalesce(u.bytes, 0) AS bytes, coalesce(u.manifests, 0) AS manifests,
  coalesce(u.manifest_bytes, 0) AS manifest_bytes, coalesce(u.tags, 0) AS tags,
  coalesce(u.repositories, 0) AS repositories, o.quota_bytes AS quota`;

const SELECT_USAGE = sql`
  SELECT ${USAGE_COLUMNS} FROM clock LEFT JOIN organizations o ON o.name = ?1 LEFT JOIN usage u ON u.organization = ?1
  WHERE clock.id = 1`;
/** Returns the usage of an organization by central's rows: all of it, except for what nodes have yet to announce. */
export async function usageAtCentral(central: Database, organization: OrganizationName): Promise<OrganizationUsage> {
  return (await central.first<OrganizationUsage>(SELECT_USAGE, organization)) ?? NO_USAGE;
}

export type UsageOfNamed = OrganizationUsage & { readonly organization: OrganizationName };

const SELECT_MOST_USAGE = sqlOfWholeTable`
  SELECT o.name AS organization, ${USAGE_COLUMNS} FROM organizations o LEFT JOIN usage u ON u.organization = o.name
  WHERE o.removed_at IS NULL ORDER BY used DESC, o.name LIMIT CAST(?1 AS INTEGER)`.reading(asManyAs('organizations'));

/**
 * Returns the organizations that use most by central's rows, in descending order. Reads one or two rows of every
 * organization.
 */
export function mostUsage(central: Database, limit: number): Promise<UsageOfNamed[]> {
  return central.all(SELECT_MOST_USAGE, limit);
}

const SELECT_USAGE_AMONG = sql`
  SELECT u.organization, ${USAGE_COLUMNS} FROM json_each(?1) AS asked CROSS JOIN usage u ON u.organization = asked.value
  LEFT JOIN organizations o ON o.name = u.organization`;

/** Returns what organizations use at a node that central is not known to count, by the node's rows. */
export function usageAmong(node: Database, organizations: readonly OrganizationName[]): Promise<UsageOfNamed[]> {
  return node.all(SELECT_USAGE_AMONG, JSON.stringify(organizations));
}
