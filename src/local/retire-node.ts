/**
 * `npm run retire-node -- <name>`: takes a node out of `[env.production]` of `wrangler.toml`, once central has all that was
 * pushed to it. Its database and bucket stay: the commands that delete them are printed, never run. Before that, once
 * it is deployed, `--forget <store>` asks central again, and has it forget where the store's bytes lay.
 */
import { parseArgs } from 'node:util';
import { databaseBinding } from '../config.ts';
import {
  type Central,
  forget,
  InTheWay,
  onlyAt,
  type StoreState,
  stateOf,
  Unavailable,
  UnknownStore,
} from './node-state.ts';
import { type Change, removeNode, requireNode, sharesStore } from './node-tables.ts';
import { main, type Operator, take } from './operator.ts';
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

  --lost      goes on although central lacks what lies at the node, and lists it
  --forget    after the deployment: central forgets where the bytes of the store lay
  --url       central's, unless it is https:// and its first host in wrangler.toml
  --apply     deploys, instead of printing how
  --config    another file than wrangler.toml

BERTH_USER and BERTH_PASSWORD are the name and secret of an administrator's credential.`;

/** @throws Refusal */
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
    operator.print(`Another node is on store ${node.store}: the store stays, and nothing of it is lost.`);
  } else if (!deployed) {
    operator.print(`Node ${name} has never been deployed: its database_id is not set.`);
  } else {
    const central = centralOf(current.production, url, environment);
    if (lost) await listLost(operator, central, node.store);
    else requireReplicated(name, await stateOrAdvice(central, node.store, name));
  }
  writeWranglerToml(current, change.text);
  operator.print(`wrangler.toml no longer has node ${name}.`);
  const steps = [
    { command: ['npm', 'run', 'types:generate'], note: "the bindings' types, which npm test compares" },
    { command: ['npm', 'run', 'deploy'], note: `from then on ${node.hosts.join(', ')} answers nothing` },
  ];
  take(operator, steps, current.folder, apply);
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
  if (user !== undefined) throw new Refusal(`Node ${user} is on store ${store}: retire it first.`);
  try {
    const central = centralOf(production, url, environment);
    if (lost) await listLost(operator, central, store);
    const locations = await forget(central, store, lost);
    operator.print(`Central has forgotten store ${store}: ${locations} locations.`);
  } catch (error) {
    if (error instanceof UnknownStore) {
      throw new Refusal(
        `${error.message}.\nNothing was forgotten, and nothing is known of what lies there: delete nothing. --forget takes the name of ` +
          `the store, which need not be the node's: the commands that were printed when the node was retired have it.`,
      );
    }
    if (!(error instanceof InTheWay)) throw error;
    throw new Refusal(
      `${error.message}.\nDelete nothing of ${store}. If something was pushed while it was being retired: put its tables back into ` +
        `wrangler.toml, deploy, and retire it again. What no manifest needs was promised to a client, for twice the grace time at ` +
        `most: run this again after that. If it is gone for good: npm run retire-node -- --forget ${store} --lost`,
    );
  }
}

function centralOf({ central }: Production, url: string | undefined, environment: NodeJS.ProcessEnv): Central {
  const { BERTH_USER: user = '', BERTH_PASSWORD: password = '' } = environment;
  if (user === '' || password === '') {
    throw new Refusal(
      "Set BERTH_USER and BERTH_PASSWORD to an administrator's credential: central is asked what the node holds.",
    );
  }
  const given = url ?? `https://${central.hosts[0]}`;
  if (!/^https?:\/\//.test(given) || !URL.canParse(given)) throw new Refusal(`--url must be a URL, not "${given}".`);
  const { protocol, hostname } = new URL(given);
  if (protocol === 'http:' && !['localhost', '127.0.0.1', '[::1]'].includes(hostname)) {
    throw new Refusal('--url must be https: the password of an administrator is sent to it.');
  }
  return { url: given, user, password };
}

async function stateOrAdvice(central: Central, store: string, name: string): Promise<StoreState> {
  try {
    return await stateOf(central, store);
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    throw new Refusal(
      `${error.message}\nNothing is known of what central lacks. Try again; if the node's database or bucket is gone for good, ` +
        `\`npm run retire-node -- ${name} --lost\`.`,
    );
  }
}

function requireReplicated(
  name: string,
  { answers, depth, oldest_outbox_entry_seconds: age, parked, paused, copies_up }: StoreState,
): void {
  if (!answers) {
    throw new Refusal(
      `The queue of node ${name} does not answer: nothing is known of what central lacks. Try again, or, if the node is gone for good: npm run retire-node -- ${name} --lost`,
    );
  }
  if (depth === 0 && copies_up.blobs === 0) return;
  const oldest = age === null ? '' : `, the oldest since ${age} seconds`;
  const held = [
    ...(paused ? ['Its queue is paused: resume it.'] : []),
    ...(parked > 0 ? [`Parked after too many attempts: ${parked}. Look for the reason, and retry them.`] : []),
  ];
  throw new Refusal(
    [
      `Node ${name} has what central lacks:`,
      `  tags and manifests that central has not heard of: ${depth}${oldest}`,
      `  blobs whose bytes lie at the node, and not at central: ${copies_up.blobs} (${copies_up.bytes} bytes)`,
      ...held,
      'Stop pushing to it, wait until both are 0, and run this again. wrangler.toml is as it was.',
      `If the node is gone for good: npm run retire-node -- ${name} --lost`,
    ].join('\n'),
  );
}

/** Everything that goes with the store; where central can't tell, that is said. */
async function listLost({ print }: Operator, central: Central, store: string): Promise<void> {
  const counts = { manifest: 0, tag: 0, blob: 0 };
  let [bytes, kept] = [0, 0];
  try {
    for await (const item of onlyAt(central, store)) {
      if (item === 'incomplete') {
        print("The node's database could not be asked: pushes that central has not heard of are not in this list.");
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
      } else print(`lost: ${item.kind.padEnd(8)} ${item.repository} ${item.key}`);
    }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    print(`${error.message}\nThe list ends here: central cannot say what else is lost.`);
  }
  print(`Lost: ${counts.manifest} manifests, ${counts.tag} tags, ${counts.blob} blobs (${bytes} bytes).`);
  if (kept > 0)
    print(`Another node has ${kept} more blobs that central lacks: see that they are copied before it is retired.`);
}

type Data = NonNullable<Change['data']>;

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
      0, or something was pushed while the node was being retired. To get it, put ${node.name}'s tables back into wrangler.toml and deploy
  npm run retire-node -- --forget ${node.store}${lost ? ' --lost' : ''}
      refused while central lacks bytes that lie at the node; then central forgets where they lay
Then, for good:`;
  operator.print(`
The database and the bucket stay until you delete them.${deployed ? check : ''}
  npx wrangler d1 delete ${database}
  npx wrangler r2 bucket delete ${bucket}
      once it is empty: npx wrangler r2 bucket lifecycle add ${bucket} all --expire-days 1`);
}

if (import.meta.main) await main(retireNodeCommand);
