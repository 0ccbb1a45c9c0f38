/**
 * `npm run add-node -- <name> --region <region>`: adds a node to `[env.production]` of `wrangler.toml`, and prints or
 * runs the commands that create its database and bucket and deploy it.
 */
import { parseArgs } from 'node:util';
import { REGIONS } from '../config.ts';
import { addNode, type Change, dataLocation, type NodeRequest } from './node-tables.ts';
import { main, type Operator, runOrPrint, type Step, shown } from './operator.ts';
import {
  ENVIRONMENT,
  readWranglerToml,
  Refusal,
  requireGoodToml,
  WRANGLER_TOML,
  writeWranglerToml,
} from './wrangler-toml.ts';

const USAGE = `npm run add-node -- <name> --region <region> [--domain <domain>] [--store <store>] [--apply]

  <name>      lowercase letters, digits and "-". The node is served at index.<name>.<domain>
  --region    where its database, bucket and queue are created: ${REGIONS.join(', ')}
  --domain    defaults to central's: the <domain> of its host index.<domain>
  --store     the store of another node, to share its database and bucket
  --apply     runs the commands instead of printing them
  --config    a file to use instead of wrangler.toml`;

/** Runs the command. @throws Refusal */
export async function addNodeCommand(args: string[], operator: Operator): Promise<void> {
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
  const request: NodeRequest = { name, region, domain, store };
  const change = addNode(current.text, current.production, request);
  // This check comes before anything is created. It does not need the database's id.
  await requireGoodToml(change.text);

  const { node, data } = change;
  const location = dataLocation(region);
  if (data !== undefined && location !== region) {
    operator.print(
      `D1 and R2 have no location hint ${region}: the database and bucket go to ${location}, the queue to ${region}.`,
    );
  }
  const create = data === undefined ? [] : [databaseStep(data, location)];
  const rest = [...(data === undefined ? [] : [bucketStep(data, location)]), ...deploySteps(change)];
  const id = apply ? create.map((step) => createdDatabase(operator, step, current.folder))[0] : undefined;
  writeWranglerToml(current, addNode(current.text, current.production, request, id).text);
  operator.print(
    `Added node ${node.name} to wrangler.toml: ${node.hosts.join(', ')}, store ${node.store}, region ${node.region}.`,
  );
  const unread = apply && data !== undefined && id === undefined;
  runOrPrint(operator, apply ? rest : [...create, ...rest], current.folder, apply && !unread);
  if (unread)
    throw new Refusal(`\nwrangler printed no database id: first set database_id of ${data.binding} in wrangler.toml.`);
}

type Data = NonNullable<Change['data']>;

function databaseStep({ database, binding }: Data, location: string): Step {
  const note = `then set database_id of ${binding} in [env.${ENVIRONMENT}] of wrangler.toml to the id that it prints`;
  return { command: ['wrangler', 'd1', 'create', database, '--location', location], note };
}

/** Creates the database and returns its id; undefined if wrangler's output has none. @throws Refusal */
function createdDatabase(operator: Operator, { command }: Step, folder: string): string | undefined {
  operator.print(`\n> ${command.join(' ')}`);
  const { status, stdout } = operator.run(command, folder, true);
  if (status !== 0) throw new Refusal(`\n${shown(command)} failed. wrangler.toml is unchanged.`);
  return /database_id"?\s*[=:]\s*"([0-9a-f-]{36})"/.exec(stdout)?.[1];
}

function bucketStep({ bucket }: Data, location: string): Step {
  return { command: ['wrangler', 'r2', 'bucket', 'create', bucket, '--location', location] };
}

function deploySteps({ data }: Change): Step[] {
  const migrate =
    data === undefined ? [] : [`wrangler d1 migrations apply ${data.binding} --remote --env ${ENVIRONMENT}`];
  return [
    { command: ['npm', 'run', 'types:generate'], note: "the bindings' types, which npm test compares" },
    { command: ['npm', 'run', 'deploy'], note: [...migrate, `wrangler deploy --env ${ENVIRONMENT}`].join('; ') },
  ];
}

if (import.meta.main) await main(addNodeCommand);
