/**
 * Berth's Worker with counted bindings, and private routes that read the counts, delay a store or make it unreachable,
 * and read and write its rows. Only the bench starts it, on loopback.
 */
import { parseConfig } from '../../src/config.ts';
import { collectCentral } from '../../src/maintenance/collection/central.ts';
import { deleteObjects } from '../../src/maintenance/collection/delete-objects.ts';
import { evict } from '../../src/maintenance/eviction/evict.ts';
import { goRound } from '../../src/maintenance/round.ts';
import { RunClock } from '../../src/maintenance/run-clock.ts';
import { contextOf } from '../../src/maintenance/schedule.ts';
import worker, { ReplicationQueue as Queue } from '../../src/index.ts';
import { Latencies } from '../support/deployment-profile.ts';
import { gateD1, gateR2 } from '../support/links.ts';
import { pacedR2 } from '../support/paced-bucket.ts';

const CLASS_A = new Set(['put', 'list', 'createMultipartUpload', 'uploadPart', 'complete']);
const CLASS_B = new Set(['get', 'head']);
const D1 = new Set(['all', 'run', 'batch']);

/** Counts by scope (`request`, or a queue's `wake` and `alarm`) and store. */
let counts = new Map();
/** For each store, its delay in milliseconds, and whether it fails every call, or answers none. */
const links = new Map();

/** The latencies of a deployment; undefined for none. */
let latencies;

function countsOf(scope, store) {
  const key = `${scope} ${store}`;
  const known = counts.get(key);
  if (known !== undefined) return known;
  const fresh = {
    scope,
    store,
    requests: 0,
    classA: 0,
    classB: 0,
    r2Free: 0,
    roundTrips: 0,
    statements: 0,
    rowsRead: 0,
    rowsWritten: 0,
    objectRequests: 0,
    objectRowsRead: 0,
    objectRowsWritten: 0,
  };
  counts.set(key, fresh);
  return fresh;
}

function gateOf(scope, store) {
  return async (call, work) => {
    const count = countsOf(scope(), store);
    if (D1.has(call)) count.roundTrips++;
    else if (CLASS_A.has(call)) count.classA++;
    else if (CLASS_B.has(call)) count.classB++;
    else count.r2Free++;
    const link = links.get(store);
    const delay = (link?.delay ?? 0) + (latencies?.of(call) ?? 0);
    if (delay > 0) await new Promise((done) => setTimeout(done, delay));
    if (link?.stalled) await new Promise(() => undefined);
    if (link?.away) throw new Error('D1_ERROR: Network connection lost.');
    const result = await work();
    if (D1.has(call)) {
      for (const { meta } of [result].flat()) {
        count.statements++;
        count.rowsRead += meta.rows_read;
        count.rowsWritten += meta.rows_written;
      }
    }
    return result;
  };
}

function countQueues(namespace, scope) {
  const counted = (stub) =>
    new Proxy(stub, {
      get: (target, name) =>
        typeof name === 'symbol' || name === 'then'
          ? undefined
          : (...args) => {
              countsOf(scope(), 'queues').objectRequests++;
              return target[name](...args);
            },
    });
  return {
    idFromName: (name) => namespace.idFromName(name),
    get: (id, options) => counted(namespace.get(id, options)),
  };
}

/** Connections to a bucket have a bandwidth while there are latencies. */
const PACE = {
  ofBytes: (bytes) => latencies?.ofBytes(bytes) ?? 0,
  now: () => Date.now(),
  real: (work) => work(),
};

function wrap(env, scope) {
  const entries = Object.entries(env).map(([name, binding]) => {
    if (name === 'REPLICATION_QUEUE') return [name, countQueues(binding, scope)];
    const [, kind, suffix = ''] = /^(DB|BLOBS)_(.+)$/.exec(name) ?? [];
    if (kind === undefined) return [name, binding];
    const gate = gateOf(scope, suffix.toLowerCase());
    return [name, kind === 'DB' ? gateD1(binding, gate) : pacedR2(gateR2(binding, gate), PACE)];
  });
  return Object.fromEntries(entries);
}

/** Counts the rows of a queue's storage: setting a key or an alarm writes one, and getting one reads one. */
function countStorage(storage, scope) {
  const { sql } = storage;
  const exec = sql.exec.bind(sql);
  sql.exec = (...args) => {
    const cursor = exec(...args);
    const rows = cursor.toArray();
    const count = countsOf(scope(), 'queues');
    count.objectRowsRead += cursor.rowsRead;
    count.objectRowsWritten += cursor.rowsWritten;
    return { toArray: () => rows, one: () => rows[0] };
  };
  const calls = {
    get: 'objectRowsRead',
    put: 'objectRowsWritten',
    getAlarm: 'objectRowsRead',
    setAlarm: 'objectRowsWritten',
  };
  for (const [name, field] of Object.entries(calls)) {
    const call = storage[name].bind(storage);
    storage[name] = (...args) => {
      countsOf(scope(), 'queues')[field]++;
      return call(...args);
    };
  }
}

export class ReplicationQueue extends Queue {
  #alarms;

  constructor(ctx, env) {
    const alarms = { running: 0 };
    const scope = () => (alarms.running > 0 ? 'alarm' : 'wake');
    countStorage(ctx.storage, scope);
    super(ctx, wrap(env, scope));
    this.#alarms = alarms;
  }

  async alarm() {
    this.#alarms.running++;
    countsOf('alarm', 'queues').objectRequests++;
    try {
      await super.alarm();
    } finally {
      this.#alarms.running--;
    }
  }
}

const wrapped = new WeakMap();

function wrappedFor(env) {
  const known = wrapped.get(env);
  if (known !== undefined) return known;
  const fresh = wrap(env, () => 'request');
  wrapped.set(env, fresh);
  return fresh;
}

/**
 * Runs slices of one maintenance task, as in a run of its own, with the pauses between them. Returns the most that one
 * slice asked of D1.
 * @param limits of a node, to evict from it; undefined to collect at central
 */
async function runSlices(env, { store, limits, milliseconds }) {
  const config = parseConfig(env);
  const end = Date.now() + milliseconds;
  const spent = () => {
    const all = [...counts.values()].filter(({ scope }) => scope === 'slices');
    const sumOf = (field) => all.reduce((sum, count) => sum + count[field], 0);
    return { roundTrips: sumOf('roundTrips'), rowsRead: sumOf('rowsRead'), rowsWritten: sumOf('rowsWritten') };
  };
  const most = { roundTrips: 0, rowsRead: 0, rowsWritten: 0 };
  let before;
  const run = contextOf(
    config,
    wrap(env, () => 'slices'),
    new RunClock(Date.now()),
  );
  const context = {
    ...run,
    ...(limits !== undefined && { evictionLimits: new Map([[store, limits]]) }),
    mayGoOn: () => {
      const now = spent();
      if (before !== undefined)
        for (const field of Object.keys(most)) most[field] = Math.max(most[field], now[field] - before[field]);
      before = now;
      return Date.now() < end;
    },
  };
  const at = limits === undefined ? run.central : run.nodes.find(({ name }) => name === store);
  for (const task of [limits === undefined ? collectCentral : evict, deleteObjects]) await goRound(context, task, at);
  return most;
}

const ROUTES = {
  '/bench/slices': async (body, env) => Response.json(await runSlices(env, body)),
  '/bench/counts': () => Response.json([...counts.values()]),
  '/bench/reset': () => {
    counts = new Map();
    return new Response(null, { status: 204 });
  },
  '/bench/link': async ({ store, ...link }) => {
    links.set(store, link);
    return new Response(null, { status: 204 });
  },
  '/bench/profile': async (profile) => {
    latencies = profile.seed === undefined ? undefined : new Latencies(profile);
    return new Response(null, { status: 204 });
  },
  '/bench/sql': async ({ store, statements }, env) => {
    const database = env[`DB_${store.toUpperCase()}`];
    const results = await database.batch(statements.map((statement) => database.prepare(statement)));
    return Response.json(results.at(-1).results);
  },
};

export default {
  ...worker,
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    const route = ROUTES[pathname];
    if (route !== undefined) return route(request.method === 'POST' ? await request.json() : undefined, env);
    countsOf('request', 'worker').requests++;
    return worker.fetch(request, wrappedFor(env), ctx);
  },
  scheduled(controller, env, ctx) {
    return worker.scheduled(controller, wrappedFor(env), ctx);
  },
};
