/**
 * `GET /metrics` shows administrators what D1 and the Durable Objects hold, in Prometheus' text format. Requests are
 * counted in Analytics Engine instead (`request-log.ts`), because an isolate knows only its own requests.
 */
import { Hono } from 'hono';
import type { Config } from '../config.ts';
import { maintenanceOf, type StoreMaintenance, type ShownTask } from '../maintenance/report.ts';
import { SHOWN_TOGETHER, usageOfMost } from '../registry/organization-usage.ts';
import { BUCKETS, type Histogram } from '../replication/queue-state.ts';
import { Replication } from '../replication/queue-operations.ts';
import { authenticateCaller, requireAdministrator } from './api/caller.ts';
import type { AppEnv } from './context.ts';

export function metricsRoutes(): Hono<AppEnv> {
  const metrics = new Hono<AppEnv>();
  metrics.get('/metrics', authenticateCaller, async (c) => {
    requireAdministrator(c);
    const { config } = c.get('runtime');
    const replication = new Replication(config, c.env);
    const [reports, maintenance, usage] = await Promise.all([
      Promise.all(replication.stores.map((store) => replication.report(store))),
      maintenanceOf(config, c.env),
      usageOfMost(config, c.env),
    ]);
    const now = Date.now();
    return c.text(render(reports, now) + renderMaintenance(maintenance, config, now) + renderUsage(usage), 200, {
      'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
      'Cache-Control': 'no-store',
    });
  });
  return metrics;
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

function render(reports: readonly Awaited<ReturnType<Replication['report']>>[], now: number): string {
  const known = reports.flatMap(({ status }) => (status === undefined ? [] : [status]));
  const ofQueues = (value: (status: (typeof known)[number]) => number): Sample[] =>
    known.map((status) => [{ store: status.store }, value(status)]);
  const changeLog = reports[0]?.changeLog ?? [];
  const age = (time: number | null | undefined): number => (time == null ? 0 : Math.max(0, (now - time) / 1000));
  return [
    family(
      'berth_queue_up',
      'gauge',
      'Whether the replication queue of the store answers.',
      reports.map(({ store, status }) => [{ store }, status === undefined ? 0 : 1]),
    ),
    family(
      'berth_queue_depth',
      'gauge',
      'Tags and manifests that are not yet announced to central.',
      ofQueues(({ depth }) => depth),
    ),
    family(
      'berth_queue_oldest_outbox_entry_seconds',
      'gauge',
      'Age of the oldest outbox entry; 0 if there is none.',
      ofQueues(({ oldest }) => age(oldest)),
    ),
    family(
      'berth_queue_in_flight',
      'gauge',
      'Blobs that are being copied now.',
      ofQueues(({ inFlight }) => inFlight),
    ),
    family(
      'berth_queue_copies_down',
      'gauge',
      'Blobs that have yet to be copied down to the node.',
      ofQueues(({ copiesDown }) => copiesDown),
    ),
    family(
      'berth_queue_parked',
      'gauge',
      'Jobs that replication gave up on, until an operator retries them.',
      ofQueues(({ parked }) => parked),
    ),
    family(
      'berth_queue_paused',
      'gauge',
      'Whether an operator has paused the queue.',
      ofQueues(({ paused }) => (paused ? 1 : 0)),
    ),
    family(
      'berth_copies_up_blobs',
      'gauge',
      'Blobs that have yet to be copied up to central.',
      reports.map(({ store, copiesUp }) => [{ store }, copiesUp.blobs]),
    ),
    family(
      'berth_copies_up_bytes',
      'gauge',
      'Bytes of the blobs that have yet to be copied up.',
      reports.map(({ store, copiesUp }) => [{ store }, copiesUp.bytes]),
    ),
    family(
      'berth_change_log_lag_entries',
      'gauge',
      "Positions in central's change log after the node's, those of replaced entries included.",
      changeLog.map(({ store, behind }) => [{ store }, behind]),
    ),
    family(
      'berth_change_log_age_seconds',
      'gauge',
      'Time since the node last read the change log.',
      changeLog.map(({ store, appliedAt }) => [{ store }, age(appliedAt)]),
    ),
    family(
      'berth_announced_total',
      'counter',
      'Outbox entries announced to central.',
      ofQueues(({ counters }) => counters.announced),
    ),
    family(
      'berth_settled_total',
      'counter',
      'Blobs settled at central.',
      ofQueues(({ counters }) => counters.settled),
    ),
    family(
      'berth_copied_up_bytes_total',
      'counter',
      'Bytes copied up to central.',
      ofQueues(({ counters }) => counters.copied_up_bytes),
    ),
    family(
      'berth_copied_down_bytes_total',
      'counter',
      'Bytes copied down to the node.',
      ofQueues(({ counters }) => counters.copied_down_bytes),
    ),
    family(
      'berth_retries_total',
      'counter',
      'Failed attempts that are retried.',
      ofQueues(({ counters }) => counters.retries),
    ),
    family(
      'berth_change_log_applied_total',
      'counter',
      'Entries of the change log that the node applied.',
      ofQueues(({ counters }) => counters.applied),
    ),
    histogram(
      'berth_announce_seconds',
      'Time from the push to a node until central has the announcement.',
      known.map(({ store, histograms }) => [store, histograms.announce_seconds]),
    ),
    histogram(
      'berth_settle_seconds',
      'Time from the announcement of a blob until central has its bytes.',
      known.map(({ store, histograms }) => [store, histograms.settle_seconds]),
    ),
  ].join('');
}

/** Renders the counters under their names in the stores: `collected_bytes` becomes `berth_collected_bytes_total`. */
function renderMaintenance(stores: readonly StoreMaintenance[], config: Config, now: number): string {
  const tasks = stores.flatMap(({ store, known }) => (known?.tasks ?? []).map((task) => ({ store, task })));
  const ofTasks = (value: (task: ShownTask) => number): Sample[] =>
    tasks.map(({ store, task }) => [{ store, task: task.task }, value(task)]);
  const names = new Set(stores.flatMap(({ known }) => [...(known?.counters.keys() ?? [])]));
  // A task has no samples until it has run.
  const gauges =
    tasks.length === 0
      ? []
      : [
          family(
            'berth_maintenance_last_slice_seconds',
            'gauge',
            'Time since the maintenance task last ran on the store.',
            ofTasks(({ last_slice_at: at }) => Math.max(0, (now - at) / 1000)),
          ),
          family(
            'berth_maintenance_next_slice_seconds',
            'gauge',
            'Time until the maintenance task may run again; 0 if it may run now.',
            ofTasks(({ next_at: at }) => Math.max(0, (at - now) / 1000)),
          ),
          family(
            'berth_maintenance_slices',
            'gauge',
            'Slices of the round in progress or, between rounds, of the last one.',
            ofTasks(({ slices }) => slices),
          ),
          family(
            'berth_maintenance_stopped',
            'gauge',
            'Whether something stops the task: /api/maintenance shows the reason.',
            ofTasks(({ stopped }) => (stopped === null ? 0 : 1)),
          ),
        ];
  const counters = [...names].toSorted().map((name) =>
    family(
      `berth_${name}_total`,
      'counter',
      'Work that maintenance has done: see the list in docs/operations.md.',
      stores.flatMap(({ store, known }): Sample[] => {
        const value = known?.counters.get(name);
        return value === undefined ? [] : [[{ store }, value]];
      }),
    ),
  );
  const enabled = family(
    'berth_collection_enabled',
    'gauge',
    'Whether the configuration allows collection and eviction.',
    [[{}, config.collects ? 1 : 0]],
  );
  const scrubs = family('berth_scrub_enabled', 'gauge', 'Whether the configuration lets the scrub read anything.', [
    [{}, config.scrubBytesPerDay > 0 ? 1 : 0],
  ]);
  return [enabled, scrubs, ...gauges, ...counters].join('');
}

function renderUsage(usage: Awaited<ReturnType<typeof usageOfMost>>): string {
  const shown = `Only for the ${SHOWN_TOGETHER} organizations that use the most.`;
  const quotas = usage.flatMap(({ organization, quota }): Sample[] =>
    quota === null ? [] : [[{ organization }, quota]],
  );
  const gauge = (name: string, help: string, samples: readonly Sample[]): string =>
    samples.length === 0 ? '' : family(`berth_organization_${name}`, 'gauge', `${help} ${shown}`, samples);
  const each = (value: (row: (typeof usage)[number]) => number): Sample[] =>
    usage.map((row) => [{ organization: row.organization }, value(row)]);
  return [
    gauge(
      'used_bytes',
      'Bytes that count against the quota of the organization.',
      each(({ used }) => used),
    ),
    gauge('quota_bytes', 'Bytes that the organization may use; no sample without a quota.', quotas),
    gauge(
      'manifest_bytes',
      'Bytes of its manifests; part of used_bytes.',
      each((row) => row.manifest_bytes),
    ),
    gauge(
      'manifests',
      'Live manifests of the organization.',
      each(({ manifests }) => manifests),
    ),
    gauge(
      'tags',
      'Tags of the organization.',
      each(({ tags }) => tags),
    ),
  ].join('');
}

function family(name: string, type: 'gauge' | 'counter', help: string, samples: readonly Sample[]): string {
  return header(name, type, help) + samples.map(([labels, value]) => line(name, labels, value)).join('');
}

function histogram(name: string, help: string, samples: readonly (readonly [store: string, Histogram])[]): string {
  const lines = samples.map(([store, { buckets, count, sum }]) =>
    [
      ...BUCKETS.map((limit, i) => line(`${name}_bucket`, { store, le: String(limit) }, buckets[i] ?? 0)),
      line(`${name}_bucket`, { store, le: '+Inf' }, count),
      line(`${name}_sum`, { store }, sum),
      line(`${name}_count`, { store }, count),
    ].join(''),
  );
  return header(name, 'histogram', help) + lines.join('');
}

function header(name: string, type: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

/** Renders a sample. Labels are numbers and names of stores, tasks and organizations: nothing needs escaping. */
function line(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const inner = Object.entries(labels)
    .map(([label, text]) => `${label}="${text}"`)
    .join(',');
  return `${name}${inner === '' ? '' : `{${inner}}`} ${value}\n`;
}
