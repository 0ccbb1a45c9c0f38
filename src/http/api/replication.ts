/** The replication queues of the nodes, for administrators. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { type QueueReport, Replication } from '../../replication/queue-operations.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { requireAdministrator, requireValidAt } from './caller.ts';
import { recordStoreAction } from './audit.ts';
import { body, describe, json } from './describe.ts';
import { lastOfPage, pageQuery } from './paging.ts';
import {
  forgetQuery,
  onlyHere,
  parkedJob,
  queue,
  queueChange,
  retryRequest,
  storeParam,
  turns,
} from './queue-schemas.ts';

const QUEUES = '/api/replication/queues';
const QUEUE = `${QUEUES}/{store}` as const;
const LOCATIONS = '/api/replication/stores/{store}/locations';

export function replicationRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    QUEUES,
    'Show the replication queues of all nodes. Figures that take longer than a second are left out',
    {},
    {
      200: { description: 'One entry per store of a node', ...json(z.object({ queues: z.array(queue) })) },
    },
  );
  api.openapi(list, async (c) => {
    requireAdministrator(c);
    const reports = await replicationOf(c).glance();
    return c.json({ queues: reports.map(view) }, 200);
  });

  const get = describe(
    'get',
    QUEUE,
    "Show a node's replication queue",
    { params: storeParam },
    {
      200: {
        description: 'The waiting, running and parked jobs, and how much of the change log each node has applied',
        ...json(queue),
      },
    },
  );
  api.openapi(get, async (c) => {
    requireAdministrator(c);
    return c.json(view(await replicationOf(c).report(c.req.valid('param').store)), 200);
  });

  const change = describe(
    'patch',
    QUEUE,
    'Pause or resume a queue. A paused node still applies deletions from central',
    {
      params: storeParam,
      ...body(queueChange),
    },
    { 200: { description: 'Changed', ...json(queue) } },
  );
  api.openapi(change, async (c) => {
    requireAdministrator(c);
    const { store } = c.req.valid('param');
    requireValidAtStore(c, store);
    const replication = replicationOf(c);
    const { paused } = c.req.valid('json');
    await replication.setPaused(store, paused);
    await recordStoreAction(c, paused ? 'pause queue' : 'resume queue', store);
    return c.json(view(await replication.report(store)), 200);
  });

  const parked = describe(
    'get',
    `${QUEUE}/parked`,
    'List the parked jobs with their last errors',
    { params: storeParam, query: pageQuery },
    {
      200: { description: 'A page of jobs, in order of their ids', ...json(z.object({ jobs: z.array(parkedJob) })) },
    },
  );
  api.openapi(parked, async (c) => {
    requireAdministrator(c);
    const { n, last } = c.req.valid('query');
    const jobs = await replicationOf(c).parked(c.req.valid('param').store, last, n);
    return c.json({ jobs: jobs.map(({ id, attempts, error }) => ({ job: id, attempts, last_error: error })) }, 200);
  });

  const turnsOf = describe(
    'get',
    `${QUEUE}/turns`,
    'Show which blobs are being copied, and whose turn is next',
    { params: storeParam },
    { 200: { description: 'The copies', ...json(turns) } },
  );
  api.openapi(turnsOf, async (c) => {
    requireAdministrator(c);
    const { copying, waiting } = await replicationOf(c).turns(c.req.valid('param').store);
    const shown = copying.map(({ size, ...copy }) => Object.assign(copy, { bytes: size ?? null }));
    return c.json({ copying: shown, waiting: [...waiting] }, 200);
  });

  const retry = describe(
    'post',
    `${QUEUE}/retry`,
    'Retry one parked job, or all',
    { params: storeParam, ...body(retryRequest) },
    {
      200: { description: 'The number of jobs that are retried', ...json(z.object({ retried: z.int() })) },
    },
  );
  api.openapi(retry, async (c) => {
    requireAdministrator(c);
    const { store } = c.req.valid('param');
    requireValidAtStore(c, store);
    const retried = await replicationOf(c).retry(store, c.req.valid('json').job);
    await recordStoreAction(c, 'retry jobs', store);
    return c.json({ retried }, 200);
  });

  const announceAll = describe(
    'post',
    `${QUEUE}/announce-all`,
    'Announce again everything that a node holds, after central has been restored',
    { params: storeParam },
    {
      202: { description: 'Everything is in the outbox and waits to be announced' },
    },
  );
  api.openapi(announceAll, async (c) => {
    requireAdministrator(c);
    const { store } = c.req.valid('param');
    requireValidAtStore(c, store);
    await replicationOf(c).announceAll(store);
    await recordStoreAction(c, 'announce all', store);
    return c.body(null, 202);
  });

  const only = describe(
    'get',
    `${QUEUE}/only-here`,
    'List the content that would be lost with the node, because central does not have it yet',
    {
      params: storeParam,
      query: pageQuery.extend({ last: z.string().optional().openapi({ description: '`last` of the previous page' }) }),
    },
    {
      200: {
        description: 'A page of tags, manifests and blobs that central lacks',
        ...json(
          z.object({
            items: z.array(onlyHere),
            last: lastOfPage,
            complete: z.boolean().openapi({
              description: "false if the node's database does not answer, or if no node uses the store any more",
            }),
          }),
        ),
      },
    },
  );
  api.openapi(only, async (c) => {
    requireAdministrator(c);
    const { n, last } = c.req.valid('query');
    const page = await replicationOf(c).onlyHere(c.req.valid('param').store, last, n);
    return c.json({ items: [...page.items], last: page.last ?? null, complete: page.complete }, 200);
  });

  const forget = describe(
    'delete',
    LOCATIONS,
    "Forget a retired store's blob locations, once no node uses the store and central has the bytes",
    { params: storeParam, query: forgetQuery },
    {
      200: {
        description:
          'The number of locations that were forgotten. Unless `last` is null, call again with it for the rest',
        ...json(z.object({ locations: z.int(), last: z.string().nullable() })),
      },
    },
  );
  api.openapi(forget, async (c) => {
    requireAdministrator(c);
    requireValidAt(c, ['central']);
    const { last, lost } = c.req.valid('query');
    const { store } = c.req.valid('param');
    const forgotten = await replicationOf(c).forget(store, last, lost);
    await recordStoreAction(c, 'forget store', store);
    return c.json({ locations: forgotten.locations, last: forgotten.last ?? null }, 200);
  });
}

/** Checks that the caller's credential is valid at every node that shares the store's queue. @throws OciError DENIED */
function requireValidAtStore(c: AppContext, store: string): void {
  const sharing = c.get('runtime').config.nodes.filter((node) => node.store === store);
  requireValidAt(
    c,
    sharing.map(({ name }) => name),
  );
}

export function replicationOf(c: AppContext): Replication {
  return new Replication(c.get('runtime').config, c.env);
}

function view({ store, status, copiesUp, changeLog }: QueueReport): z.infer<typeof queue> {
  const now = Date.now();
  const oldest = status?.oldest ?? null;
  return {
    store,
    answers: status !== undefined,
    depth: status?.depth ?? 0,
    oldest_outbox_entry_seconds: oldest === null ? null : secondsSince(oldest, now),
    in_flight: status?.inFlight ?? 0,
    copies_down: status?.copiesDown ?? 0,
    parked: status?.parked ?? 0,
    paused: status?.paused ?? false,
    copies_up:
      copiesUp === undefined ? null : { blobs: copiesUp.blobs, bytes: copiesUp.bytes, complete: copiesUp.isWhole },
    change_log: changeLog.map(({ store: name, position, behind, appliedAt }) => ({
      store: name,
      position,
      behind,
      seconds_since: appliedAt === undefined ? null : secondsSince(appliedAt, now),
    })),
  };
}

function secondsSince(time: number, now: number): number {
  return Math.max(0, Math.round((now - time) / 1000));
}
