/**
 * `npm run retire-node -- <name>`: removes a node from `[env.production]` of `wrangler.toml`, once central has
 * everything that was pushed to it. The node's database and bucket stay: the command prints how to delete them, but
 * never does it. After the deployment and before the deletion, `--forget <store>` checks central again and makes it
 * forget the store's blob locations.
 */
import { parseArgs } from 'node:util';
import { databaseBinding } from '../config.ts';
import {
  type Central,
  forget,
  Conflict,
  onlyAt,
  type StoreState,
  stateOf,
  Unavailable,
  UnknownStore,
} from './node-state.ts';
import { type Change, removeNode, requireNode, sharesStore } from './node-tables.ts';
import { main, type Operator, runOrPrint } from './operator.ts';
import {
  type ConfiguredNode,
  isUnset,
  type Production,
  readWranglerToml,
  Refusal,
  requireGoodToml,
  WRANGLER_TOML,
  writeWranglerToml,
} from './wrangler-toml.ts';

const USAGE = `npm run retire-node -- <name> [--lost] [--url <url>] [--apply]
npm run retire-node -- --forget <store> [--lost] [--url <url>]

  --lost      continues even if central lacks data of the node, and lists that data
  --forget    after the deployment: makes central forget the store's blob locations
  --url       central's URL; defaults to https:// and its first host in wrangler.toml
  --apply     deploys instead of printing how
  --config    a file to use instead of wrangler.toml

Set BERTH_USER and BERTH_PASSWORD to the name and secret of an administrator's credential.`;

/** Runs the command. @throws Refusal */
export async function retireNodeCommand(args: string[], operator: Operator, environment = process.env): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      lost: { type: 'boolean', default: false },
      forget: { type: 'string' },
      url: { type: 'string' },
      config: { type: 'string', default: WRANGLER_TOML },
      apply: { type: 'boolean', default: false },
    },
  });
  const [name] = positionals;
  const { lost, forget: store, url, config, apply } = values;
  if (positionals.length !== (store === undefined ? 1 : 0)) throw new Refusal(USAGE);

  const current = await readWranglerToml(config);
  if (store !== undefined) return forgetStore(operator, current.production, store, { url, lost, environment });
  if (name === undefined) throw new Refusal(USAGE);
  const node = requireNode(current.production, name);
  const change = removeNode(current.text, current.production, name);
  await requireGoodToml(change.text);
  const deployed = !isUnset(
    current.production.databases.find(({ binding }) => binding === databaseBinding(node.store))?.database_id,
  );
  if (sharesStore(current.production, node)) {
    operator.print(`Another node uses store ${node.store}: the store stays, and nothing is lost.`);
  } else if (!deployed) {
    operator.print(`Node ${name} has never been deployed: its database_id is not set.`);
  } else {
    const central = centralOf(current.production, url, environment);
    if (lost) await listLost(operator, central, node.store);
    else requireReplicated(name, await stateOrAdvice(central, node.store, name));
  }
  writeWranglerToml(current, change.text);
  operator.print(`Removed node ${name} from wrangler.toml.`);
  const steps = [
    { command: ['npm', 'run', 'types:generate'], note: "the bindings' types, which npm test compares" },
    { command: ['npm', 'run', 'deploy'], note: `after this, ${node.hosts.join(', ')} no longer answers` },
  ];
  try {
    runOrPrint(operator, steps, current.folder, apply);
  } catch (error) {
    if (change.data !== undefined) printNames(operator, change.data, node);
    throw error;
  }
  if (change.data !== undefined) printDeletion(operator, change.data, node, deployed, lost);
}

interface ForgetOptions {
  readonly url: string | undefined;
  readonly lost: boolean;
  readonly environment: NodeJS.ProcessEnv;
}

async function forgetStore(
  operator: Operator,
  production: Production,
  store: string,
  { url, lost, environment }: ForgetOptions,
): Promise<void> {
  const user = production.nodes.find((node) => node.store === store)?.name;
  if (user !== undefined) throw new Refusal(`Node ${user} uses store ${store}: retire it first.`);
  try {
    const central = centralOf(production, url, environment);
    if (lost) await listLost(operator, central, store);
    const locations = await forget(central, store, lost);
    operator.print(`Central has forgotten store ${store}: ${locations} locations.`);
  } catch (error) {
    if (error instanceof UnknownStore) {
      throw new Refusal(
        `${error.message}.\nCentral has forgotten nothing, and cannot tell what the store holds: delete nothing. ` +
          "--forget takes the name of the store, which may differ from the node's: " +
          'see the commands that were printed when the node was retired.',
      );
    }
    if (!(error instanceof Conflict)) throw error;
    throw new Refusal(
      `${error.message}.\nDelete nothing of ${store}. If something was pushed during the retirement, put the tables ` +
        'back into wrangler.toml, deploy, and retire the node again. If central only promised the blobs to a client, ' +
        'wait for twice the grace time, then run this again. If the data is gone for good: ' +
        `npm run retire-node -- --forget ${store} --lost`,
    );
  }
}

function centralOf({ central }: Production, url: string | undefined, environment: NodeJS.ProcessEnv): Central {
  const { BERTH_USER: user = '', BERTH_PASSWORD: password = '' } = environment;
  if (user === '' || password === '') {
    throw new Refusal(
      "Set BERTH_USER and BERTH_PASSWORD to an administrator's credential: central has to say what the node holds.",
    );
  }
  const given = url ?? `https://${central.hosts[0]}`;
  if (!/^https?:\/\//.test(given) || !URL.canParse(given)) throw new Refusal(`--url must be a URL, not "${given}".`);
  const { protocol, hostname } = new URL(given);
  if (protocol === 'http:' && !['localhost', '127.0.0.1', '[::1]'].includes(hostname)) {
    throw new Refusal("--url must be https, because the command sends an administrator's password there.");
  }
  return { url: given, user, password };
}

async function stateOrAdvice(central: Central, store: string, name: string): Promise<StoreState> {
  try {
    return await stateOf(central, store);
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    throw new Refusal(
      `${error.message}\nIt is unknown what central lacks. Try again. If the node's database or bucket is gone for ` +
        `good: npm run retire-node -- ${name} --lost`,
    );
  }
}

function requireReplicated(
  name: string,
  { answers, depth, oldest_outbox_entry_seconds: age, parked, paused, copies_up }: StoreState,
): void {
  if (!answers) {
    throw new Refusal(
      `The queue of node ${name} does not answer, so it is unknown what central lacks. Try again. ` +
        `If the node is gone for good: npm run retire-node -- ${name} --lost`,
    );
  }
  if (depth === 0 && copies_up.blobs === 0) return;
  const oldest = age === null ? '' : `, the oldest for ${age} seconds`;
  const held = [
    ...(paused ? ['Its queue is paused: resume it.'] : []),
    ...(parked > 0 ? [`Parked jobs: ${parked}. Find out why they failed, and retry them.`] : []),
  ];
  throw new Refusal(
    [
      `Central does not have everything that node ${name} has:`,
      `  tags and manifests not yet announced to central: ${depth}${oldest}`,
      `  blobs not yet copied up to central: ${copies_up.blobs} (${copies_up.bytes} bytes)`,
      ...held,
      'Stop pushing to it, wait until both are 0, and run this again. wrangler.toml is unchanged.',
      `If the node is gone for good: npm run retire-node -- ${name} --lost`,
    ].join('\n'),
  );
}

/** Lists everything that is lost with the store, and says so if the list is incomplete. */
async function listLost({ print }: Operator, central: Central, store: string): Promise<void> {
  const counts = { manifest: 0, tag: 0, blob: 0 };
  let [bytes, kept] = [0, 0];
  try {
    for await (const item of onlyAt(central, store)) {
      if (item === 'incomplete') {
        print("The node's database does not answer. The list lacks pushes that were not announced to central.");
        continue;
      }
      if (item.kind === 'blob' && item.elsewhere) {
        kept++;
        continue;
      }
      counts[item.kind]++;
      if (item.kind === 'blob') {
        bytes += item.size;
        print(`lost: blob     ${item.organization} ${item.key} (${item.size} bytes)`);
        continue;
      }
      print(`lost: ${item.kind.padEnd(8)} ${item.repository} ${item.key}`);
      if (item.tag === undefined) continue;
      counts.tag++;
      print(`lost: tag      ${item.repository} ${item.tag}`);
    }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    print(`${error.message}\nThe list ends here, because central cannot tell what else is lost.`);
  }
  print(`Lost: ${counts.manifest} manifests, ${counts.tag} tags, ${counts.blob} blobs (${bytes} bytes).`);
  if (kept > 0)
    print(`Another node has ${kept} more blobs that central lacks. Do not retire it before they are copied up.`);
}

type Data = NonNullable<Change['data']>;

/** Prints the names of a node's database and bucket, which wrangler.toml no longer has. */
function printNames(operator: Operator, { database, bucket }: Data, { store }: ConfiguredNode): void {
  operator.print(`
Store ${store} has the database ${database} and the bucket ${bucket}. Delete neither before the deployment and
npm run retire-node -- --forget ${store} have succeeded.`);
}

function printDeletion(
  operator: Operator,
  { database, bucket }: Data,
  node: ConfiguredNode,
  deployed: boolean,
  lost: boolean,
): void {
  const check = `
First, after the deployment:
  npx wrangler d1 execute ${database} --remote --command "SELECT count(*) FROM outbox"
      must be 0. Otherwise something was pushed during the retirement:
      put ${node.name}'s tables back into wrangler.toml and deploy to get it
  npm run retire-node -- --forget ${node.store}${lost ? ' --lost' : ''}
      refuses while central lacks bytes that the node has; otherwise central forgets the blob locations
Then delete the data for good:`;
  operator.print(`
The database and the bucket stay until you delete them.${deployed ? check : ''}
  npx wrangler d1 delete ${database}
  npx wrangler r2 bucket delete ${bucket}
      needs an empty bucket. To empty it: npx wrangler r2 bucket lifecycle add ${bucket} all --expire-days 1`);
}

if (import.meta.main) await main(retireNodeCommand);
