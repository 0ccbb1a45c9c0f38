/** Checks that need an administrator's credential: migrations, secrets, the cron trigger, and the queues. */
import { z } from 'zod';
import { isLoopback } from '../../config.ts';
import type { Login } from './arguments.ts';
import { type Client, json, requireStatus } from './client.ts';
import { Failed, type Found, failure, notChecked, ok, warning } from './line.ts';
import type { Run } from './run.ts';

const deployment = z.object({
  registries: z.array(z.object({ name: z.string(), hosts: z.array(z.string()), store: z.string() })),
  stores: z.array(
    z.object({
      store: z.string(),
      database: z.enum(['ok', 'unavailable']),
      bucket: z.enum(['ok', 'unavailable']),
      missing_migrations: z.array(z.string()).nullable(),
    }),
  ),
  secrets: z.array(z.string()),
  console: z.array(z.string()),
});

const maintenance = z.object({
  collects: z.boolean(),
  scrubs: z.boolean(),
  stores: z.array(
    z.object({
      store: z.string(),
      answers: z.boolean(),
      tasks: z.array(
        z.object({
          task: z.string(),
          last_slice_at: z.iso.datetime(),
          next_at: z.iso.datetime(),
          round_started_at: z.iso.datetime(),
          stopped: z.string().nullable(),
        }),
      ),
    }),
  ),
});

const queues = z.object({
  queues: z.array(
    z.object({
      store: z.string(),
      answers: z.boolean(),
      depth: z.number(),
      oldest_outbox_entry_seconds: z.number().nullable(),
      parked: z.number(),
      paused: z.boolean(),
      copies_up: z.object({}).nullable(),
      change_log: z.array(z.object({ store: z.string(), seconds_since: z.number().nullable() })),
    }),
  ),
});

export type Deployment = z.infer<typeof deployment>;

const LOG = 'Look at the log: npx wrangler tail --env production.';

type Maintenance = z.infer<typeof maintenance>;
type Queues = z.infer<typeof queues>;

/** Asks for the deployment. @throws Failed */
export function readDeployment(client: Client, url: URL, login: Login): Promise<Deployment> {
  return read(client, new URL('/api/deployment', url), login, deployment);
}

/** Asks for the state of maintenance, and once more if a store did not answer within a second. @throws Failed */
async function readMaintenance(client: Client, url: URL, login: Login): Promise<Maintenance> {
  const ask = (): Promise<Maintenance> => read(client, new URL('/api/maintenance', url), login, maintenance);
  const found = await ask();
  return found.stores.every(({ answers }) => answers) ? found : ask();
}

/** Asks for the queues, and once more if one of them, or central, did not answer within a second. @throws Failed */
async function readQueues(client: Client, url: URL, login: Login): Promise<Queues> {
  const ask = (): Promise<Queues> => read(client, new URL('/api/replication/queues', url), login, queues);
  const found = await ask();
  return found.queues.every(({ answers, copies_up: copiesUp }) => answers && copiesUp !== null) ? found : ask();
}

async function read<T>(client: Client, url: URL, login: Login, shape: z.ZodType<T>): Promise<T> {
  const answer = requireStatus(await client.ask(url, { headers: { Authorization: basic(login) } }), 200);
  const { data } = shape.safeParse(json(answer));
  if (data !== undefined) return data;
  throw new Failed(`${url.pathname} answers in another form`, 'Use the doctor of the version that is deployed.');
}

export function basic({ user, secret }: Login): string {
  return `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}`;
}

/** Checks that every store answers, and has the migrations of the deployed code. */
export async function* checkStores({ deployment: known }: Run): AsyncGenerator<Found, void> {
  for (const { store, database, bucket, missing_migrations: missing } of known?.stores ?? []) {
    const away = [...(database === 'ok' ? [] : ['database']), ...(bucket === 'ok' ? [] : ['bucket'])];
    if (missing !== null && missing.length > 0) {
      yield failure(`${store} lacks ${missing.join(', ')}`, 'Run npm run deploy, which applies migrations first.');
    } else if (away.length > 0) {
      yield failure(`the ${away.join(' and the ')} of ${store} does not answer`, `Check its bindings. ${LOG}`);
    } else yield ok(`${store} has all migrations`);
  }
}

export async function* checkSecrets({ deployment: known, options }: Run): AsyncGenerator<Found, void> {
  const secrets = known?.secrets ?? [];
  const seen = `${secrets.join(', ')} ${secrets.length === 1 ? 'is' : 'are'} set`;
  // A local run always has a bootstrap secret.
  if (!secrets.includes('BOOTSTRAP_SECRET') || isLoopback(options.url.hostname)) return yield ok(seen);
  yield warning(
    seen,
    'Delete the bootstrap secret, which may do everything: npx wrangler secret delete BOOTSTRAP_SECRET --env production.',
  );
}

/** Tasks that write their row whenever they run. Other tasks do so only if they had something to do. */
const REGULAR = new Set(['collect', 'tombstones', 'comparison']);
/** The tasks of {@link REGULAR} that run even where nothing may be collected. */
const ALWAYS = new Set(['comparison']);

/** The time that a task may be late, in milliseconds, as in the alert "A maintenance task does not run". */
const LATE = 3_600_000;

const CRON = 'Check the cron trigger (triggers in wrangler.toml; Settings of the Worker in the dashboard).';

/** Checks that maintenance runs at every store, which shows that the cron trigger fires. */
export async function* checkMaintenance({ client, options }: Run): AsyncGenerator<Found, void> {
  const { url, administrator } = options;
  if (administrator === undefined) return;
  const now = Date.now();
  const { collects, stores } = await readMaintenance(client, url, administrator);
  for (const { store, answers, tasks } of stores) {
    const last = Math.max(...tasks.map(({ last_slice_at: at }) => Date.parse(at)));
    const late = tasks.filter(
      ({ task, next_at: next, last_slice_at: at }) =>
        (collects ? REGULAR : ALWAYS).has(task) && Math.max(Date.parse(next), Date.parse(at)) + LATE < now,
    );
    const stopped = tasks.find((task) => task.stopped !== null);
    if (!answers) yield failure(`the database of ${store} does not answer`, LOG);
    else if (tasks.length === 0) {
      yield failure(`no task has ever run at ${store}`, `Wait for a minute after the first deployment. ${CRON}`);
    } else if (late.length > 0) {
      const names = late.map(({ task }) => task).join(', ');
      yield failure(`${names} at ${store} is overdue; a task last ran ${ago(last, now)}`, `${CRON} ${LOG}`);
    } else if (stopped !== undefined) {
      yield warning(
        `${stopped.task} at ${store} is stopped: ${stopped.stopped}`,
        'docs/operations.md, "A maintenance task is stopped", says what to do.',
      );
    } else yield ok(`at ${store}, a task last ran ${ago(last, now)}`);
  }
  if (!collects) yield warning('nothing is collected', 'Remove collect = false once the restored database is good.');
}

/** The time that the scrub may be late, in milliseconds: its trigger may be missed once. */
const SCRUB_LATE = 7_200_000;

const SCRUB_CRON =
  'Check the hourly cron trigger: crons in wrangler.toml has "23 * * * *" besides that of each minute.';

/** Checks that the scrub runs at every store. A cron trigger of its own starts it. */
export async function* checkScrub({ client, options }: Run): AsyncGenerator<Found, void> {
  const { url, administrator } = options;
  if (administrator === undefined) return;
  const late = Date.now() - SCRUB_LATE;
  const { scrubs, stores } = await readMaintenance(client, url, administrator);
  if (!scrubs) return yield notChecked('scrub_gb_per_day is 0');
  for (const { store, tasks } of stores) {
    const scrub = tasks.find(({ task }) => task === 'scrub');
    if (scrub !== undefined) {
      const { next_at: next, last_slice_at: at } = scrub;
      const last = `the scrub last ran ${ago(Date.parse(at), Date.now())} at ${store}`;
      if (Math.max(Date.parse(next), Date.parse(at)) > late) yield ok(last);
      else yield warning(`${last}, and is overdue`, `${SCRUB_CRON} ${LOG}`);
    } else if (tasks.some(({ round_started_at: began }) => Date.parse(began) < late)) {
      yield failure(`the scrub has never run at ${store}`, `${SCRUB_CRON} ${LOG}`);
    } else yield notChecked(`the scrub has yet to run at ${store}, which it does once an hour`);
  }
}

/** Seconds since a node read the change log. It does so once a minute, when the cron trigger wakes its queue. */
const DEAF = 180;

/** Seconds that an outbox entry may wait. */
const OLD = 600;

/** Checks that each node's queue answers, works, and hears of central's changes. */
export async function* checkQueues({ client, options }: Run): AsyncGenerator<Found, void> {
  const { url, administrator } = options;
  if (administrator === undefined) return;
  const { queues: all } = await readQueues(client, url, administrator);
  if (all.length === 0) yield notChecked('the deployment has no nodes');
  for (const queue of all) {
    const { store, answers, depth, oldest_outbox_entry_seconds: oldest, parked, paused, copies_up: copiesUp } = queue;
    const heard = queue.change_log.find((each) => each.store === store)?.seconds_since ?? undefined;
    const see = 'docs/operations.md, "Alerts", says what to do.';
    if (!answers) yield failure(`the queue of ${store} does not answer`, `${LOG} ${see}`);
    else if (copiesUp === null) yield warning(`central did not answer within a second for ${store}`, `${LOG} ${see}`);
    else if (heard === undefined) yield failure(`${store} has never read the change log`, `${CRON} ${see}`);
    else if (heard > DEAF) yield failure(`${store} last read the change log ${heard} s ago`, `${CRON} ${see}`);
    else if (paused) yield warning(`the queue of ${store} is paused`, 'docs/api.md, "Queues", says how to resume it.');
    else if (parked > 0) yield warning(`${parked} jobs of ${store} are parked`, 'docs/operations.md, "Parked jobs".');
    else if ((oldest ?? 0) > OLD) yield warning(`a push to ${store} has waited for ${oldest} s`, see);
    else yield ok(`the queue of ${store} answers; ${depth} pushes wait`);
  }
}

function ago(time: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - time) / 1000));
  return seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
}
