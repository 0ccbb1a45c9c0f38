import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Deployment, OnlyHere, ParkedJob, Queue } from '../answers.ts';
import { type Api, mayPass, path } from '../api.ts';
import { connected, wantsJson, withExamples, withHost } from '../options.ts';
import { type Cell, digestFor, duration, print, screenOf, size, table } from '../terminal.ts';

const WATCH_SECONDS = 2;
/** The most parked jobs to show, and the most things that only a node has. */
const DETAILS = 50;

interface Overview {
  readonly deployment: Deployment;
  readonly queues: readonly Queue[];
}

export function status(berth: Command): void {
  const command = withHost(berth.command('status'))
    .description('show central and the nodes: health, lag, queues, and bytes that only a node has')
    .argument('[store]', 'also list the parked jobs of this store, and the content that would be lost with it')
    .option('--watch', `show it again every ${WATCH_SECONDS} seconds, until Ctrl-C`)
    .action(async (store: string | undefined, { watch }: { readonly watch?: true }) => {
      const api = await connected(command);
      const json = wantsJson(command);
      const look = async (): Promise<string> => {
        const seen = store === undefined ? await overviewOf(api) : await storeOf(api, store);
        if (json) return `${JSON.stringify(seen, undefined, watch === undefined ? 2 : undefined)}\n`;
        return 'queues' in seen ? overview(seen) : details(seen);
      };
      if (watch === undefined) return print(await look());
      await repeat(look, json);
    });
  withExamples(
    command,
    ['berth status --host index.example.com'],
    ['berth status --watch --host index.example.com', 'redrawn every two seconds'],
    ['berth status fra --host index.example.com', 'with its parked jobs'],
  );
}

async function overviewOf(api: Api): Promise<Overview> {
  const [deployment, { queues }] = await Promise.all([
    api.call<Deployment>('GET', '/api/deployment'),
    api.call<{ queues: Queue[] }>('GET', '/api/replication/queues'),
  ]);
  return { deployment, queues };
}

/** Returns the overview as a table: a line for each store, central first. */
export function overview({ deployment, queues }: Overview, screen = screenOf()): string {
  const rows = deployment.stores.map((health) => ({
    health,
    queue: queues.find(({ store }) => store === health.store),
  }));
  return table(
    rows,
    {
      STORE: ({ health }) => health.store,
      STATE: ({ health, queue }) => stateOf(health, queue),
      LAG: ({ queue }) => (queue?.answers === true ? lagOf(queue) : null),
      'QUEUE>': ({ queue }) => (queue?.answers === true ? queue.depth : null),
      'ONLY THERE>': ({ queue }) => onlyThere(queue?.copies_up ?? null),
      'COPIES DOWN>': ({ queue }) => (queue?.answers === true ? queue.copies_down : null),
      'CHANGES BEHIND>': ({ queue }) => (queue?.copies_up == null ? null : changesBehind(queue)),
      'PARKED>': ({ queue }) => (queue?.answers === true ? parked(queue.parked) : null),
    },
    screen,
  );
}

/** Returns how many bytes central lacks; null while central does not answer. */
function onlyThere(up: Queue['copies_up']): Cell {
  if (up === null) return null;
  return up.complete ? size(up.bytes) : `${size(up.bytes)} or more`;
}

function stateOf(health: Deployment['stores'][number], queue: Queue | undefined): Cell {
  if (health.database !== 'ok') return { text: 'database away', tone: 'bad' };
  if (health.bucket !== 'ok') return { text: 'bucket away', tone: 'bad' };
  if (health.missing_migrations?.length !== 0) return { text: 'lacks migrations', tone: 'bad' };
  if (queue?.answers === false) return { text: 'queue away', tone: 'bad' };
  if (queue?.paused === true) return { text: 'paused', tone: 'busy' };
  return { text: 'ok', tone: 'good' };
}

/** Returns how long the oldest push has waited to be announced. */
function lagOf({ oldest_outbox_entry_seconds: oldest }: Queue): Cell {
  if (oldest === null) return 'none';
  // docs/operations.md, "The outbox is old".
  return { text: duration(oldest), tone: oldest > 300 ? 'bad' : 'busy' };
}

function changesBehind({ store, change_log: logs }: Queue): Cell {
  // Each queue's report has all stores.
  const log = logs.find((each) => each.store === store);
  if (log === undefined) return { text: 'never heard', tone: 'bad' };
  const { behind, seconds_since: age } = log;
  const since = age ?? 0;
  // docs/operations.md, "The node hears nothing".
  return since > 300 ? { text: `${behind}, heard ${duration(since)} ago`, tone: 'bad' } : String(behind);
}

function parked(jobs: number): Cell {
  return jobs === 0 ? '0' : { text: String(jobs), tone: 'bad' };
}

interface StoreDetails {
  readonly queue: Queue;
  readonly jobs: readonly ParkedJob[];
  readonly items: readonly OnlyHere[];
  /** The position after `items`; null if there are no more. */
  readonly last: string | null;
  readonly complete: boolean;
}

async function storeOf(api: Api, store: string): Promise<StoreDetails> {
  const query = { n: DETAILS };
  const to = path`/api/replication/queues/${store}`;
  const [queue, { jobs }, only] = await Promise.all([
    api.call<Queue>('GET', to),
    api.call<{ jobs: ParkedJob[] }>('GET', `${to}/parked`, { query }),
    api.call<Pick<StoreDetails, 'items' | 'last' | 'complete'>>('GET', `${to}/only-here`, { query }),
  ]);
  return { queue, jobs, ...only };
}

function details({ queue, jobs, items, last, complete }: StoreDetails): string {
  const parts = [
    table([queue], {
      STORE: ({ store }) => store,
      STATE: ({ answers, paused }) => (answers ? (paused ? 'paused' : 'running') : { text: 'away', tone: 'bad' }),
      LAG: lagOf,
      'QUEUE>': ({ depth }) => depth,
      'COPYING>': ({ in_flight: copying }) => copying,
      'COPIES UP>': ({ copies_up: up }) => (up === null ? null : `${up.blobs} (${size(up.bytes)})`),
      'COPIES DOWN>': ({ copies_down: down }) => down,
      'CHANGES BEHIND>': changesBehind,
    }),
    jobs.length === 0
      ? 'Nothing is parked.\n'
      : table(jobs, {
          'PARKED JOB': ({ job }) => job,
          'ATTEMPTS>': ({ attempts }) => attempts,
          'LAST ERROR': ({ last_error: error }) => error,
        }),
    items.length === 0
      ? 'Central has everything that this store has.\n'
      : table(items, {
          'ONLY HERE': ({ kind }) => kind,
          OF: (item) => (item.kind === 'blob' ? item.organization : item.repository),
          KEY: ({ key }) => digestFor(key),
          TAG: (item) => (item.kind === 'blob' ? null : (item.tag ?? null)),
          'SIZE>': (item) => (item.kind === 'blob' ? size(item.size) : null),
          ELSEWHERE: (item) => (item.kind === 'blob' ? (item.elsewhere ? 'at a node' : 'no') : null),
        }),
  ];
  if (last !== null) parts.push(`Only the first ${DETAILS} are shown.\n`);
  if (!complete) parts.push("The node's database does not answer, so the list may lack something.\n");
  return parts.join('\n');
}

/** Prints again and again: on a terminal in the same place, elsewhere one text after the other. Never returns. */
async function repeat(look: () => Promise<string>, isJson: boolean): Promise<never> {
  const { isTerminal } = screenOf();
  for (;;) {
    try {
      const text = await look();
      // Draws from the top left corner, and clears the rest of each line and everything below.
      if (isTerminal && !isJson) print(`\u{1b}[H${text.replaceAll('\n', '\u{1b}[K\n')}\u{1b}[J`);
      else print(isJson ? text : `${text}\n`);
    } catch (error) {
      if (!mayPass(error)) throw error;
      console.error((error as Error).message);
    }
    await sleep(WATCH_SECONDS * 1000);
  }
}
