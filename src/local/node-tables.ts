/** The tables of a node in `wrangler.toml`: adds them for a new node, and removes them with a retired one. */
import { isDeepStrictEqual } from 'node:util';
import { bucketBinding, databaseBinding, REGIONS, registry } from '../config.ts';
import { isCoveredByWildcard, requireCustomDomains, roomFor, variableOf } from './node-room.ts';
import { appendBlock, removeBlock, type Table } from './toml-blocks.ts';
import { type ConfiguredNode, ENVIRONMENT, type Production, Refusal } from './wrangler-toml.ts';

export interface NodeRequest {
  readonly name: string;
  /** One of {@link REGIONS}. */
  readonly region: string;
  /** The domain of the node's host; central's by default. */
  readonly domain?: string | undefined;
  /** The store of another node, to share it. */
  readonly store?: string | undefined;
  /** Ends the names of a new database and bucket, so that no earlier node has used them. */
  readonly suffix: string;
}

export interface Change {
  readonly node: ConfiguredNode;
  /** The store's database and bucket, if they are added or removed with the node. */
  readonly data: { readonly binding: string; readonly database: string; readonly bucket: string } | undefined;
  readonly text: string;
}

/** The location hints to use for regions that D1 and R2 have no hint for. */
const NEAREST: Readonly<Record<string, string>> = { sam: 'enam', afr: 'weur', me: 'eeur' };
const NO_DATABASE = '00000000-0000-0000-0000-000000000000';
const LONGEST_NAME = 47;

/** Returns the location hint that D1 and R2 take for a region. */
export function dataLocation(region: string): string {
  return NEAREST[region] ?? region;
}

/**
 * Adds the tables of a new node. R2 follows a location hint only when the name of a bucket is first used, and a store
 * that was retired must not come back. So the names of a database and a bucket have the location and a suffix.
 * @throws Refusal
 */
export function addNode(text: string, production: Production, request: NodeRequest): Change {
  const node = nodeOf(production, request);
  const shared = production.nodes.some(({ store }) => store === node.store);
  const binding = databaseBinding(node.store);
  const dataName = `berth-${node.store}-${dataLocation(node.region)}-${request.suffix}`;
  const data = shared ? undefined : { binding, database: dataName, bucket: dataName };
  if (data !== undefined) requireUnused(production, data);
  const customDomains = node.hosts.filter((host) => !isCoveredByWildcard(production, host));
  requireCustomDomains(production, customDomains);
  const withNode = appendBlock(text, `node ${node.name}`, [
    table(nodesTable(roomFor(production, node)), { ...node }),
    ...customDomains.map((pattern) => table('routes', { pattern, custom_domain: true })),
  ]);
  if (data === undefined) return { node, data, text: withNode };
  const database = {
    binding,
    database_name: data.database,
    database_id: NO_DATABASE,
    migrations_dir: 'src/stores/migrations',
  };
  const withStore = appendBlock(withNode, `store ${node.store}`, [
    table('d1_databases', database),
    table('r2_buckets', { binding: bucketBinding(node.store), bucket_name: data.bucket }),
  ]);
  return { node, data, text: withStore };
}

/** Sets the id of a database that a new node's tables leave unset. @throws Refusal if these lines were changed */
export function setDatabaseId(text: string, database: string, id: string): string {
  const [before, after, ...rest] = text.split(`database_name = "${database}"\ndatabase_id = "${NO_DATABASE}"\n`);
  if (before === undefined || after === undefined || rest.length > 0)
    throw new Refusal(`In wrangler.toml, set database_id of the database ${database} to ${id}, and run this again.`);
  return `${before}database_name = "${database}"\ndatabase_id = "${id}"\n${after}`;
}

/** Returns the array of tables that holds the nodes of a variable. */
function nodesTable(variable: string): string {
  return variable === 'REGISTRY' ? 'vars.REGISTRY.nodes' : `vars.${variable}`;
}

/** Removes the tables of a node, and those of its store if no other node uses it. @throws Refusal */
export function removeNode(text: string, production: Production, name: string): Change {
  const node = requireNode(production, name);
  const customDomains = node.hosts.filter((host) => production.routes.some(({ pattern }) => pattern === host));
  const tables = [nodesTable(variableOf(production, name)), ...customDomains.map(() => 'routes')];
  const withoutNode = requireRemoved(text, `node ${name}`, tables);
  if (sharesStore(production, node)) return { node, data: undefined, text: withoutNode };
  return {
    node,
    data: dataOf(production, node),
    text: requireRemoved(withoutNode, `store ${node.store}`, ['d1_databases', 'r2_buckets']),
  };
}

/** Returns the database and the bucket of a node's store, if both are configured. */
export function dataOf({ databases, buckets }: Production, { store }: ConfiguredNode): Change['data'] {
  const database = databases.find(({ binding }) => binding === databaseBinding(store));
  const bucket = buckets.find(({ binding }) => binding === bucketBinding(store));
  if (database === undefined || bucket === undefined) return undefined;
  return { binding: database.binding, database: database.database_name, bucket: bucket.bucket_name };
}

/** @param tables the tables of the environment that the block must have, and no others */
function requireRemoved(text: string, block: string, tables: readonly string[]): string {
  const removed = removeBlock(text, block);
  if (removed === undefined) {
    throw new Refusal(
      `wrangler.toml has no "# begin ${block}:" and "# end ${block}", which \`npm run add-node\` writes: ` +
        `put these lines around the tables of ${block}, or remove the tables by hand.`,
    );
  }
  const expected = tables.map((name) => `env.${ENVIRONMENT}.${name}`);
  if (isDeepStrictEqual(removed.headers.toSorted(), expected.toSorted())) return removed.text;
  throw new Refusal(
    `between "# begin ${block}:" and "# end ${block}", wrangler.toml has the tables ${removed.headers.join(', ')}, ` +
      `but ${block} has ${expected.join(', ')}: move the others out, or remove the tables of ${block} by hand.`,
  );
}

/** Returns the node of that name. @throws Refusal */
export function requireNode({ nodes }: Production, name: string): ConfiguredNode {
  const node = nodes.find((each) => each.name === name);
  if (node !== undefined) return node;
  const names = nodes.length === 0 ? 'none' : nodes.map((each) => each.name).join(', ');
  throw new Refusal(
    `[env.${ENVIRONMENT}] of wrangler.toml has no node ${name}. Its nodes: ${names}. ` +
      'If an earlier run removed the node and its deployment failed: npm run deploy',
  );
}

/** Returns whether another node uses the node's store. */
export function sharesStore({ nodes }: Production, node: ConfiguredNode): boolean {
  return nodes.some(({ name, store }) => store === node.store && name !== node.name);
}

function table(name: string, values: Table['values']): Table {
  return { header: `env.${ENVIRONMENT}.${name}`, values };
}

function nodeOf(production: Production, { name, region, domain, store }: NodeRequest): ConfiguredNode {
  const { central, nodes } = production;
  if (nodes.some((each) => each.name === name)) {
    throw new Refusal(
      `wrangler.toml already has node ${name}. With --apply, this command does what is left to do for it; ` +
        `\`npm run retire-node -- ${name}\` removes it.`,
    );
  }
  if (!(REGIONS as readonly string[]).includes(region)) {
    throw new Refusal(`--region must be one of ${REGIONS.join(', ')}, not "${region}": the node's queue goes there.`);
  }
  if (name.length > LONGEST_NAME) {
    throw new Refusal(
      `A node's name must have at most ${LONGEST_NAME} characters, because its bucket ` +
        'berth-<name>-<location>-<suffix> may have 63.',
    );
  }
  const stores = [...new Set(nodes.map((each) => each.store))];
  if (store !== undefined && !stores.includes(store)) {
    const others = stores.length === 0 ? 'there is no other node' : `theirs are ${stores.join(', ')}`;
    throw new Refusal(
      `--store must name the store of another node, to share it, and "${store}" is not one: ${others}.`,
    );
  }
  if (store === undefined && stores.includes(name)) {
    throw new Refusal(`Store ${name} belongs to another node. Share it with --store ${name}, or choose another name.`);
  }
  const node = { name, hosts: [`index.${name}.${domain ?? domainOf(central.hosts)}`], store: store ?? name, region };
  const parsed = registry.safeParse({ central, nodes: [...nodes, node] });
  if (parsed.success) return node;
  const [issue] = parsed.error.issues;
  // The path is `nodes.<index>.<field>`, unless the fault is not in this node alone.
  const field = issue?.path.slice(2).join('.') || 'node';
  throw new Refusal(`The Worker would refuse this node: ${field}: ${issue?.message}`);
}

function domainOf(hosts: readonly string[]): string {
  const domain = hosts.map((host) => /^index\.([^:]+)$/.exec(host)?.[1]).find((found) => found !== undefined);
  if (domain === undefined)
    throw new Refusal('No host of central has the form index.<domain>: pass the domain with --domain <domain>.');
  return domain;
}

function requireUnused(
  { databases, buckets }: Production,
  { binding, database, bucket }: NonNullable<Change['data']>,
): void {
  const taken = databases.find((each) => each.binding === binding || each.database_name === database)?.database_name;
  const other = taken ?? buckets.find(({ bucket_name: name }) => name === bucket)?.bucket_name;
  if (other !== undefined)
    throw new Refusal(
      `[env.${ENVIRONMENT}] of wrangler.toml already has ${other}, for something else: rename or remove it.`,
    );
}
