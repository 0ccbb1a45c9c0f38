/**
 * The usage of organizations as it is shown. Central's rows have the content that central counts. A node's rows have
 * the content that the node has yet to announce.
 */
import type { OrganizationName } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { atMost, keyed, paged } from '../rows-read.ts';
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
/**
 * Returns the usage of an organization by central's rows: all of it, except for content that nodes have yet to
 * announce.
 */
export async function usageAtCentral(central: Database, organization: OrganizationName): Promise<OrganizationUsage> {
  return (await central.first<OrganizationUsage>(SELECT_USAGE, organization)) ?? NO_USAGE;
}

export type UsageOfNamed = OrganizationUsage & { readonly organization: OrganizationName };

interface Named {
  readonly name: OrganizationName;
}

/** The most organizations that are shown together. */
export const SHOWN_TOGETHER = 1000;

const SELECT_FIRST = sql<Named>`
  SELECT name FROM organizations INDEXED BY organizations_there WHERE removed_at IS NULL AND name > ''
  ORDER BY name LIMIT ${String(SHOWN_TOGETHER + 1)}`.reading(atMost(2 * SHOWN_TOGETHER));
const SELECT_LARGEST = sql<Named>`
  SELECT name FROM largest_organizations WHERE name > '' ORDER BY name LIMIT ${String(SHOWN_TOGETHER)}`.reading(
  atMost(2 * SHOWN_TOGETHER),
);
const SELECT_USAGE_AT_CENTRAL = sql`
  SELECT o.name AS organization, ${USAGE_COLUMNS} FROM json_each(?1) AS asked
  CROSS JOIN organizations o ON o.name = asked.value AND o.removed_at IS NULL
  LEFT JOIN usage u ON u.organization = o.name`;

/**
 * Returns the organizations that use most by central's rows, in descending order: all of them if there are at most
 * {@link SHOWN_TOGETHER}, and otherwise those that {@link putLargest} has noted.
 */
export async function mostUsage(central: Database): Promise<UsageOfNamed[]> {
  const { first, largest } = await central.batch({ first: [SELECT_FIRST], largest: [SELECT_LARGEST] }, { again: true });
  const names = (first.length > SHOWN_TOGETHER ? largest : first).map(({ name }) => name);
  const found = await central.all<UsageOfNamed>(SELECT_USAGE_AT_CENTRAL, JSON.stringify(names));
  return found.toSorted((a, b) => b.used - a.used || (a.organization < b.organization ? -1 : 1));
}

export interface UsedByOrganization {
  readonly name: OrganizationName;
  /** Bytes that count against the quota. */
  readonly used: number;
}

const SELECT_USED_AFTER = sql`
  SELECT o.name, coalesce(${COUNTED('u')}, 0) AS used FROM organizations o INDEXED BY organizations_there
  LEFT JOIN usage u ON u.organization = o.name
  WHERE o.removed_at IS NULL AND o.name > ?1 ORDER BY o.name LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

/** Returns the usage, by central's rows, of at most `limit` organizations with names after `last`, in byte order. */
export function usedAfter(central: Database, last: string, limit: number): Promise<UsedByOrganization[]> {
  return central.all(SELECT_USED_AFTER, last, limit);
}

const FORGET_LARGEST = sql`
  DELETE FROM largest_organizations WHERE name > '' AND name NOT IN (SELECT value FROM json_each(?1))`.reading(
  (run) => keyed(run) + 4 * SHOWN_TOGETHER,
);
const INSERT_LARGEST = sql`
  INSERT INTO largest_organizations (name) SELECT value FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING`;

/** Notes which organizations use most. @param names at most {@link SHOWN_TOGETHER} */
export function putLargest(names: readonly OrganizationName[]): BoundStatement[] {
  const list = JSON.stringify(names);
  return [
    [FORGET_LARGEST, list],
    [INSERT_LARGEST, list],
  ];
}

const SELECT_USAGE_AMONG = sql`
  SELECT u.organization, ${USAGE_COLUMNS} FROM json_each(?1) AS asked CROSS JOIN usage u ON u.organization = asked.value
  LEFT JOIN organizations o ON o.name = u.organization`;

/** Returns the usage of organizations at a node that central, as far as the node knows, does not count yet. */
export function usageAmong(node: Database, organizations: readonly OrganizationName[]): Promise<UsageOfNamed[]> {
  return node.all(SELECT_USAGE_AMONG, JSON.stringify(organizations));
}
