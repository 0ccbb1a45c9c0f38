/**
 * What organizations use, by one rule at every host: what central counts, and what each node's store holds that central
 * is not known to count, such as its open uploads. A quota is judged by less: each store knows its own and central's.
 */
import type { Config } from '../config.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { OciError } from '../oci/errors.ts';
import { within } from '../stores/deadline.ts';
import type { Store } from '../stores/store.ts';
import {
  mostUsage,
  type OrganizationUsage,
  usageAmong,
  usageAtCentral,
  type UsageOfNamed,
} from '../stores/organizations/usage-shown.ts';
import { composeStores } from './compose.ts';
import { orAway } from './federated/central.ts';

/** How long a node's database is waited for, in milliseconds. */
const NODE_MILLISECONDS = 5000;

export interface WholeUsage extends OrganizationUsage {
  /** False where a node's store does not answer: the organization may use more. */
  readonly complete: boolean;
}

/** @throws OciError UNAVAILABLE where central does not answer */
export async function usageOf(config: Config, env: object, organization: OrganizationName): Promise<WholeUsage> {
  const { central, nodes } = storesOf(config, env);
  const [atCentral, others] = await Promise.all([
    usageAtCentral(central.database, organization),
    amongNodes(nodes, [organization]),
  ]);
  const sum = others.rows.reduce(added, atCentral);
  return { ...sum, complete: others.complete };
}

/** Those that use most by central's rows, first. @throws OciError UNAVAILABLE where central does not answer */
export async function usageOfMost(config: Config, env: object, limit: number): Promise<UsageOfNamed[]> {
  const { central, nodes } = storesOf(config, env);
  const most = await mostUsage(central.database, limit);
  const others = await amongNodes(
    nodes,
    most.map(({ organization }) => organization),
  );
  const byName = Map.groupBy(others.rows, ({ organization }) => organization);
  return most.map((row) => (byName.get(row.organization) ?? []).reduce(added, row));
}

function storesOf(config: Config, env: object): { readonly central: Store; readonly nodes: readonly Store[] } {
  const stores = composeStores(config, env);
  const central = stores.find(({ name }) => name === config.central.store);
  if (central === undefined) throw new OciError('UNAVAILABLE');
  return { central, nodes: stores.filter((store) => store !== central) };
}

async function amongNodes(
  nodes: readonly Store[],
  organizations: readonly OrganizationName[],
): Promise<{ readonly rows: readonly UsageOfNamed[]; readonly complete: boolean }> {
  const answers = await Promise.all(
    nodes.map(({ database }) => within(NODE_MILLISECONDS, usageAmong(database, organizations)).catch(orAway)),
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
