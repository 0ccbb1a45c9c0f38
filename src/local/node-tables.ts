/** What a node is in `wrangler.toml`: the tables to add for a new one, and those to remove with an old one. */
import { bucketBinding, databaseBinding, REGIONS, registry } from '../config.ts';
import { appendTables, type Element, removeTables, type Table } from './toml-tables.ts';
import { type ConfiguredNode, ENVIRONMENT, type Production, Refusal } from './wrangler-toml.ts';

export interface NodeRequest {
  readonly name: string;
  /** One of {@link REGIONS}. */
  readonly region: string;
  /** Central's, unless set. */
  readonly domain?: string | undefined;
  /** Another node's, to share it. */
  readonly store?: string | undefined;
}

export interface Change {
  readonly node: ConfiguredNode;
  /** The store's database and bucket, if they come or go with the node. */
  readonly data: { readonly binding: string; readonly database: string; readonly bucket: string } | undefined;
  readonly meant: Production;
  readonly text: string;
}

/** Where D1 and R2 put the data of a region that they have no hint for. */
const NEAREST: Readonly<Record<string, string>> = { sam: 'enam', afr: 'weur', me: 'eeur' };
const NO_DATABASE = '00000000-0000-0000-0000-000000000000';
const LONGEST_NAME = 57;

export function dataLocation(region: string): string {
  return NEAREST[region] ?? region;
}

/** @throws Refusal */
export function addNode(text: string, production: Production, request: NodeRequest, databaseId = NO_DATABASE): Change {
  const node = nodeOf(production, request);
  const shared = production.nodes.some(({ store }) => store === node.store);
  const binding = databaseBinding(node.store);
  const data = shared ? undefined : { binding, database: `berth-${node.store}`, bucket: `berth-${node.store}` };
  if (data !== undefined) requireUnused(production, data);
  const routes = node.hosts.map((pattern) => ({ pattern, custom_domain: true }));
  const databases =
    data === undefined
      ? []
      : [{ binding, database_name: data.database, database_id: databaseId, migrations_dir: 'src/stores/migrations' }];
  const buckets = data === undefined ? [] : [{ binding: bucketBinding(node.store), bucket_name: data.bucket }];
  const tables: Table[] = [
    { header: `env.${ENVIRONMENT}.vars.REGISTRY.nodes`, values: { ...node } },
    ...routes.map((values) => ({ header: `env.${ENVIRONMENT}.routes`, values })),
    ...databases.map((values) => ({ header: `env.${ENVIRONMENT}.d1_databases`, values })),
    ...buckets.map((values) => ({ header: `env.${ENVIRONMENT}.r2_buckets`, values })),
  ];
  return {
    node,
    data,
    meant: {
      ...production,
      nodes: [...production.nodes, node],
      routes: [...production.routes, ...routes],
      databases: [...production.databases, ...databases],
      buckets: [...production.buckets, ...buckets],
    },
    text: appendTables(text, `Node ${node.name}: added by \`npm run add-node\`, removed by \`npm run retire-node\`.`, tables),
  };
}

/** @throws Refusal */
export function removeNode(text: string, production: Production, name: string): Change {
  const node = requireNode(production, name);
  const shared = sharesStore(production, node);
  const [ofDatabase, ofBucket] = shared ? [] : [databaseBinding(node.store), bucketBinding(node.store)];
  const gone = {
    nodes: (each: ConfiguredNode) => each.name === name,
    routes: ({ pattern }: { pattern: string }) => node.hosts.includes(pattern),
    databases: ({ binding }: { binding: string }) => binding === ofDatabase,
    buckets: ({ binding }: { binding: string }) => binding === ofBucket,
  };
  const { nodes, routes, databases, buckets } = production;
  const elements = [
    ...elementsOf('vars.REGISTRY.nodes', nodes, gone.nodes),
    ...elementsOf('routes', routes, gone.routes),
    ...elementsOf('d1_databases', databases, gone.databases),
    ...elementsOf('r2_buckets', buckets, gone.buckets),
  ];
  const database = databases.find(gone.databases);
  const bucket = buckets.find(gone.buckets);
  return {
    node,
    data:
      database === undefined || bucket === undefined
        ? undefined
        : { binding: database.binding, database: database.database_name, bucket: bucket.bucket_name },
    meant: {
      ...production,
      nodes: nodes.filter((each) => !gone.nodes(each)),
      routes: routes.filter((each) => !gone.routes(each)),
      databases: databases.filter((each) => !gone.databases(each)),
      buckets: buckets.filter((each) => !gone.buckets(each)),
    },
    text: removeTables(text, elements),
  };
}

/** @throws Refusal */
export function requireNode({ nodes }: Production, name: string): ConfiguredNode {
  const node = nodes.find((each) => each.name === name);
  if (node !== undefined) return node;
  const names = nodes.length === 0 ? 'none' : nodes.map((each) => each.name).join(', ');
  throw new Refusal(`[env.${ENVIRONMENT}] of wrangler.toml has no node ${name}. Its nodes: ${names}.`);
}

export function sharesStore({ nodes }: Production, node: ConfiguredNode): boolean {
  return nodes.some(({ name, store }) => store === node.store && name !== node.name);
}

function nodeOf(production: Production, { name, region, domain, store }: NodeRequest): ConfiguredNode {
  const { central, nodes } = production;
  if (nodes.some((each) => each.name === name)) {
    throw new Refusal(
      `wrangler.toml has node ${name} already. \`npm run deploy\` deploys it once its database_id is set; ` +
        `\`npm run retire-node -- ${name}\` takes it out.`,
    );
  }
  if (!(REGIONS as readonly string[]).includes(region)) {
    throw new Refusal(`--region must be one of ${REGIONS.join(', ')}, not "${region}": the node's queue is put there.`);
  }
  if (name.length > LONGEST_NAME) {
    throw new Refusal(`A node's name has at most ${LONGEST_NAME} characters: its bucket is berth-<name>, of 63 at most.`);
  }
  const stores = [...new Set(nodes.map((each) => each.store))];
  if (store !== undefined && !stores.includes(store)) {
    const others = stores.length === 0 ? 'there is no other node' : `theirs are ${stores.join(', ')}`;
    throw new Refusal(`--store names the store of another node, to share it, and "${store}" is none: ${others}.`);
  }
  if (store === undefined && stores.includes(name)) {
    throw new Refusal(`Store ${name} is another node's. --store ${name} shares it; else choose another name.`);
  }
  const node = { name, hosts: [`index.${name}.${domain ?? domainOf(central.hosts)}`], store: store ?? name, region };
  const parsed = registry.safeParse({ central, nodes: [...nodes, node] });
  if (parsed.success) return node;
  const [issue] = parsed.error.issues;
  const [, , field = 'node', ...rest] = issue?.path ?? [];
  throw new Refusal(`The Worker would refuse this node: ${[field, ...rest].join('.')}: ${issue?.message}`);
}

function domainOf(hosts: readonly string[]): string {
  const domain = hosts.map((host) => /^index\.([^:]+)$/.exec(host)?.[1]).find((found) => found !== undefined);
  if (domain === undefined) throw new Refusal("No host of central is index.<domain>: say the node's with --domain <domain>.");
  return domain;
}

function requireUnused({ databases, buckets }: Production, { binding, database, bucket }: NonNullable<Change['data']>): void {
  const taken = databases.find((each) => each.binding === binding || each.database_name === database)?.database_name;
  const other = taken ?? buckets.find(({ bucket_name: name }) => name === bucket)?.bucket_name;
  if (other !== undefined) throw new Refusal(`[env.${ENVIRONMENT}] of wrangler.toml has ${other} already, for something else.`);
}

function elementsOf<T>(header: string, all: readonly T[], gone: (each: T) => boolean): Element[] {
  return all.flatMap((each, index) => (gone(each) ? [{ header: `env.${ENVIRONMENT}.${header}`, index }] : []));
}
