/**
 * Adds up the usage of organizations, in the same way at every host. It is the usage that central counts, plus the
 * content of each node's store that central, as far as the node knows, does not count yet, such as open uploads. A
 * quota check sees less than this sum, because a store knows only central's count and its own content.
 */
import type { Config } from '../config.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { OciError } from '../oci/errors.ts';
import { PAGE_MILLISECONDS, within } from '../stores/deadline.ts';
import type { Store } from '../stores/store.ts';
import { largestRepositories, type MeasuredRepositories } from '../stores/organizations/largest-repositories-rows.ts';
import { type UsageOfDay, usageByDay } from '../stores/organizations/usage-by-day-rows.ts';
import {
  mostUsage,
  type OrganizationUsage,
  usageAmong,
  usageAtCentral,
  type UsageOfNamed,
} from '../stores/organizations/usage-shown.ts';
import { composeStores } from './compose.ts';
import { orUnavailable } from './federated/central.ts';

export { SHOWN_TOGETHER } from '../stores/organizations/usage-shown.ts';

/** The longest wait for a node's database for `/metrics`, in milliseconds. */
const METRICS_MILLISECONDS = 5000;

interface WholeUsage extends OrganizationUsage {
  /** False if a node's store did not answer: the organization may use more. */
  readonly complete: boolean;
}

/**
 * Returns what an organization uses at central and at all nodes.
 * @throws OciError UNAVAILABLE if central does not answer
 */
export async function usageOf(config: Config, env: object, organization: OrganizationName): Promise<WholeUsage> {
  const [central, ...nodes] = composeStores(config, env);
  const [atCentral, others] = await Promise.all([
    usageAtCentral(central.database, organization),
    amongNodes(nodes, [organization], PAGE_MILLISECONDS),
  ]);
  const sum = others.rows.reduce(added, atCentral);
  return { ...sum, complete: others.complete };
}

/**
 * Returns what an organization used on each of the last days, oldest first, as central counted it.
 * @throws OciError UNAVAILABLE
 */
export async function usageDaysOf(
  config: Config,
  env: object,
  organization: OrganizationName,
  now: number,
): Promise<UsageOfDay[]> {
  const [central] = composeStores(config, env);
  return usageByDay(central.database, organization, now);
}

/**
 * Returns what the repositories of an organization held when they were last measured; undefined if they never were.
 * `measuredAt` is in milliseconds since the epoch.
 * @throws OciError UNAVAILABLE
 */
export async function repositoriesUsageOf(
  config: Config,
  env: object,
  organization: OrganizationName,
): Promise<{ readonly measuredAt: number; readonly measured: MeasuredRepositories } | undefined> {
  const [central] = composeStores(config, env);
  return largestRepositories(central.database, organization);
}

/**
 * Returns the organizations that use the most, ordered by what central counts for them.
 * @throws OciError UNAVAILABLE if central does not answer
 */
export async function usageOfMost(config: Config, env: object): Promise<UsageOfNamed[]> {
  const [central, ...nodes] = composeStores(config, env);
  const most = await mostUsage(central.database);
  const others = await amongNodes(
    nodes,
    most.map(({ organization }) => organization),
    METRICS_MILLISECONDS,
  );
  const byName = Map.groupBy(others.rows, ({ organization }) => organization);
  return most.map((row) => (byName.get(row.organization) ?? []).reduce(added, row));
}

async function amongNodes(
  nodes: readonly Store[],
  organizations: readonly OrganizationName[],
  milliseconds: number,
): Promise<{ readonly rows: readonly UsageOfNamed[]; readonly complete: boolean }> {
  const answers = await Promise.all(
    nodes.map(({ database }) => within(milliseconds, usageAmong(database, organizations)).catch(orUnavailable)),
  );
  const rows = answers.flatMap((answer) => (answer instanceof OciError ? [] : answer));
  return { rows, complete: !answers.some((answer) => answer instanceof OciError) };
}

function added<Usage extends OrganizationUsage>(a: Usage, b: OrganizationUsage): Usage {
  return {
    ...a,
    used: a.used + b.used,
    in_flight: a.in_flight + b.in_flight,
    blobs: a.blobs + b.blobs,
    bytes: a.bytes + b.bytes,
    manifests: a.manifests + b.manifests,
    manifest_bytes: a.manifest_bytes + b.manifest_bytes,
    tags: a.tags + b.tags,
  };
}
