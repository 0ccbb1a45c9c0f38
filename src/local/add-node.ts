/**
 * `npm run add-node -- <name> --region <region>`: adds a node to `[env.production]` of `wrangler.toml`, and prints or
 * runs the commands that create its database and bucket and deploy it. With `--apply` it can be run again after a
 * failure: the names are in `wrangler.toml` before anything is created.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { REGIONS } from '../config.ts';
import { VARIABLE_BYTES, variableBytes } from '../node-variables.ts';
import { CUSTOM_DOMAINS, customDomainsOf, variableOf, zoneOf } from './node-room.ts';
import {
  addNode,
  type Change,
  dataLocation,
  dataOf,
  type NodeRequest,
  setDatabaseId,
  sharesStore,
} from './node-tables.ts';
import { main, type Operator, runOrPrint, type Step, shown } from './operator.ts';
import {
  type ConfiguredNode,
  ENVIRONMENT,
  isUnset,
  type Production,
  readWranglerToml,
  Refusal,
  requireGoodToml,
  WRANGLER_TOML,
  type WranglerToml,
  writeWranglerToml,
} from './wrangler-toml.ts';

const USAGE = `npm run add-node -- <name> --region <region> [--domain <domain>] [--store <store>] [--apply]

  <name>      lowercase letters, digits and "-". The node is served at index.<name>.<domain>
  --region    where its database, bucket and queue are created: ${REGIONS.join(', ')}
  --domain    defaults to central's: the <domain> of its host index.<domain>
  --store     the store of another node, to share its database and bucket
  --apply     runs the commands instead of printing them. After a failure, run it again
  --config    a file to use instead of wrangler.toml`;

/** Runs the command. @param suffix ends the names of the database and the bucket @throws Refusal */
export async function addNodeCommand(
  args: string[],
  operator: Operator,
  suffix: string = randomSuffix(),
): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      region: { type: 'string' },
      domain: { type: 'string' },
      store: { type: 'string' },
      config: { type: 'string', default: WRANGLER_TOML },
      apply: { type: 'boolean', default: false },
    },
  });
  const [name] = positionals;
  const { region, domain, store, config, apply } = values;
  if (name === undefined || positionals.length > 1 || region === undefined) throw new Refusal(USAGE);

  const current = await readWranglerToml(config);
  const request = { name, region, domain, store, suffix };
  const started = apply ? startedNode(current.production, request) : undefined;
  if (started === undefined) {
    const change = addNode(current.text, current.production, request);
    const after = await requireGoodToml(change.text);
    printRoom(operator, after, change.node);
    writeWranglerToml(current, change.text);
    operator.print(`Added node ${name} to wrangler.toml: ${describe(change.node)}.`);
    carryOut(operator, { ...current, text: change.text, production: after }, change, apply);
  } else {
    operator.print(`wrangler.toml already has node ${name}: ${describe(started)}. Going on with what is left to do.`);
    const data = sharesStore(current.production, started) ? undefined : dataOf(current.production, started);
    carryOut(operator, current, { node: started, data }, apply);
  }
}

function randomSuffix(): string {
  return Array.from({ length: 4 }, () => randomInt(36).toString(36)).join('');
}

function describe({ hosts, store, region }: ConfiguredNode): string {
  return `${hosts.join(', ')}, store ${store}, region ${region}`;
}

/** Returns the node, if an earlier run has added it with the same values. @throws Refusal if it differs */
function startedNode(production: Production, { name, region, domain, store }: NodeRequest): ConfiguredNode | undefined {
  const node = production.nodes.find((each) => each.name === name);
  if (node === undefined) return undefined;
  const host = domain === undefined ? node.hosts[0] : `index.${name}.${domain}`;
  if (node.region === region && node.store === (store ?? name) && node.hosts[0] === host) return node;
  throw new Refusal(
    `wrangler.toml already has node ${name}, with other values: ${describe(node)}. Choose another name, or use ` +
      'these values.',
  );
}

/** Says how full the node's variable and its zone are, before anything is written. */
function printRoom(operator: Operator, production: Production, node: ConfiguredNode): void {
  const variable = variableOf(production, node.name);
  operator.print(
    `Variable ${variable}: ${variableBytes(production.variables[variable])} of ${VARIABLE_BYTES} bytes. ` +
      `Nodes: ${production.nodes.length}.`,
  );
  for (const host of node.hosts) {
    const count = customDomainsOf(production, host);
    if (count > 0) operator.print(`Custom domains of ${zoneOf(host)}: ${count} of ${CUSTOM_DOMAINS}.`);
  }
}

/** Does what a node in wrangler.toml still lacks, or prints it. @throws Refusal if a step fails */
function carryOut(
  operator: Operator,
  current: WranglerToml,
  { node, data }: Pick<Change, 'node' | 'data'>,
  apply: boolean,
): void {
  const { folder, production } = current;
  const location = dataLocation(node.region);
  if (data !== undefined && location !== node.region) {
    operator.print(
      `D1 and R2 have no location hint ${node.region}: the database and bucket go to ${location}, the queue to ` +
        `${node.region}.`,
    );
  }
  if (data === undefined) return runOrPrint(operator, deploySteps(), folder, apply);
  if (!apply) {
    const steps = [databaseStep(data, location), bucketStep(data, location), ...deploySteps()];
    return runOrPrint(operator, steps, folder, false);
  }
  const id = production.databases.find(({ binding }) => binding === data.binding)?.database_id;
  if (isUnset(id)) {
    const created = createDatabase(operator, data, location, folder);
    writeWranglerToml(current, setDatabaseId(current.text, data.database, created));
  }
  createBucket(operator, data, location, folder);
  runOrPrint(operator, deploySteps(), folder, true);
}

type Data = NonNullable<Change['data']>;

function databaseStep({ database, binding }: Data, location: string): Step {
  const note = `then set database_id of ${binding} in [env.${ENVIRONMENT}] of wrangler.toml to the id that it prints`;
  return { command: ['wrangler', 'd1', 'create', database, '--location', location], note };
}

function bucketStep({ bucket }: Data, location: string): Step {
  return { command: ['wrangler', 'r2', 'bucket', 'create', bucket, '--location', location] };
}

/** Creates the database, unless an earlier run has. Returns its id. @throws Refusal */
function createDatabase(operator: Operator, data: Data, location: string, folder: string): string {
  const { command } = databaseStep(data, location);
  const created = run(operator, command, folder);
  const id = created.status === 0 ? /database_id"?\s*[=:]\s*"([0-9a-f-]{36})"/.exec(created.stdout)?.[1] : undefined;
  const found = id ?? idOf(data.database, run(operator, ['wrangler', 'd1', 'list', '--json'], folder).stdout);
  if (found !== undefined) return found;
  throw failed(command);
}

/** Finds a database in the JSON that wrangler prints. */
function idOf(database: string, stdout: string): string | undefined {
  try {
    const all = JSON.parse(stdout.slice(stdout.indexOf('['))) as { name: string; uuid: string }[];
    return all.find(({ name }) => name === database)?.uuid;
  } catch {
    return undefined;
  }
}

/** Creates the bucket, unless an earlier run has. @throws Refusal */
function createBucket(operator: Operator, data: Data, location: string, folder: string): void {
  const { command } = bucketStep(data, location);
  if (run(operator, command, folder).status === 0) return;
  // This needs only the right to read R2. `r2 bucket info` also asks for metrics, which a token may lack the right
  // to read.
  if (run(operator, ['wrangler', 'r2', 'bucket', 'lifecycle', 'list', data.bucket], folder).status === 0) return;
  throw failed(command);
}

function failed(command: readonly string[]): Refusal {
  return new Refusal(
    `\n${shown(command)} failed. The node is in wrangler.toml, but nothing is deployed. ` +
      'Run `npm run add-node` again with the same arguments.',
  );
}

/** Runs a command that must not prompt, and shows what it prints. */
function run(operator: Operator, command: readonly string[], folder: string): ReturnType<Operator['run']> {
  operator.print(`\n> ${command.join(' ')}`);
  const ran = operator.run(command, folder, true);
  operator.print(ran.stdout);
  return ran;
}

function deploySteps(): Step[] {
  return [
    { command: ['npm', 'run', 'types:generate'], note: "the bindings' types, which npm test compares" },
    { command: ['npm', 'run', 'deploy'], note: 'migrates the databases, then deploys the code' },
  ];
}

if (import.meta.main) await main(addNodeCommand);
