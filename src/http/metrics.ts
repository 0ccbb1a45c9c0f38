/**
 * `GET /metrics`, in Prometheus' text format, for administrators: what D1 and the Durable Objects hold. Requests are counted
 * by Analytics Engine (`request-log.ts`): an isolate knows only its own.
 */
import { Hono } from 'hono';
import { maintenanceOf, type StoreMaintenance, type TaskState } from '../maintenance/report.ts';
import { usageOfMost } from '../registry/organization-usage.ts';
import { BUCKETS, type Histogram } from '../replication/queue-state.ts';
import { type QueueReport, Replication } from '../replication/queue-operations.ts';
import { authenticateCaller, requireAdministrator } from './api/caller.ts';
import type { AppEnv } from './context.ts';

/** Organizations with samples of their own: each costs Prometheus five series. */
const ORGANIZATIONS = 1000;

export function metricsRoutes(): Hono<AppEnv> {
  const metrics = new Hono<AppEnv>();
  metrics.get('/metrics', authenticateCaller, async (c) => {
    requireAdministrator(c);
    const { config } = c.get('runtime');
    const replication = new Replication(config, c.env);
    const [reports, maintenance, usage] = await Promise.all([
      Promise.all(replication.stores.map((store) => replication.report(store))),
      maintenanceOf(config, c.env),
      usageOfMost(config, c.env, ORGANIZATIONS),
    ]);
    const now = Date.now();
    return c.text(
      render(reports, now) + renderMaintenance(maintenance, config.collects, now) + renderUsage(usage),
      200,
      {
        'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
        'Cache-Control': 'no-store',
      },
    );
  });
  return metrics;
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

function render(reports: readonly QueueReport[], now: number): string {
  const known = reports.flatMap(({ status }) => (status === undefined ? [] : [status]));
  const ofQueues = (value: (status: (typeof known)[number]) => number): Sample[] =>
    known.map((status) => [{ store: status.store }, value(status)]);
  const changeLog = reports[0]?.changeLog ?? [];
  const age = (time: number | null | undefined): number => (time == null ? 0 : Math.max(0, (now - time) / 1000));
  return [
    family(
      'berth_queue_up',
      'gauge',
      'Whether the replication queue of a store answers.',
      reports.map(({ store, status }) => [{ store }, status === undefined ? 0 : 1]),
    ),
    family(
      'berth_queue_depth',
      'gauge',
      'Tags and manifests of a node that central has not heard of.',
      ofQueues(({ depth }) => depth),
    ),
    family(
      'berth_queue_oldest_outbox_entry_seconds',
      'gauge',
      'How long the oldest of them has waited; 0 for none.',
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
      'Blobs that a node has yet to fetch from afar.',
      ofQueues(({ copiesDown }) => copiesDown),
    ),
    family(
      'berth_queue_parked',
      'gauge',
      'Jobs that were given up, and wait for an operator.',
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
      'Blobs whose bytes lie at a node, and that central lacks.',
      reports.map(({ store, copiesUp }) => [{ store }, copiesUp.blobs]),
    ),
    family(
      'berth_copies_up_bytes',
      'gauge',
      'Bytes of these blobs.',
      reports.map(({ store, copiesUp }) => [{ store }, copiesUp.bytes]),
    ),
    family(
      'berth_change_log_lag_entries',
      'gauge',
      "Entries of central's change log that a node has yet to apply.",
      changeLog.map(({ store, behind }) => [{ store }, behind]),
    ),
    family(
      'berth_change_log_age_seconds',
      'gauge',
      'Since a node last asked for the change log.',
      changeLog.map(({ store, appliedAt }) => [{ store }, age(appliedAt)]),
    ),
    family(
      'berth_announced_total',
      'counter',
      'Outbox entries that were announced.',
      ofQueues(({ counters }) => counters.announced),
    ),
    family(
      'berth_settled_total',
      'counter',
      'Blobs that were settled at central.',
      ofQueues(({ counters }) => counters.settled),
    ),
    family(
      'berth_copied_up_bytes_total',
      'counter',
      'Bytes that were copied to central.',
      ofQueues(({ counters }) => counters.copied_up_bytes),
    ),
    family(
      'berth_copied_down_bytes_total',
      'counter',
      'Bytes that were fetched to a node.',
      ofQueues(({ counters }) => counters.copied_down_bytes),
    ),
    family(
      'berth_retries_total',
      'counter',
      'Attempts that failed and are made again.',
      ofQueues(({ counters }) => counters.retries),
    ),
    family(
      'berth_change_log_applied_total',
      'counter',
      'Change log entries that were applied.',
      ofQueues(({ counters }) => counters.applied),
    ),
    histogram(
      'berth_announce_seconds',
      'From the push to a node to its announcement at central.',
      known.map(({ store, histograms }) => [store, histograms.announce_seconds]),
    ),
    histogram(
      'berth_settle_seconds',
      'From the announcement of a blob to its bytes at central.',
      known.map(({ store, histograms }) => [store, histograms.settle_seconds]),
    ),
  ].join('');
}

/** Counters come as the stores have them: `collected_bytes` is `berth_collected_bytes_total`. */
function renderMaintenance(stores: readonly StoreMaintenance[], collects: boolean, now: number): string {
  const tasks = stores.flatMap(({ store, known }) => (known?.tasks ?? []).map((task) => ({ store, task })));
  const ofTasks = (value: (task: TaskState) => number): Sample[] =>
    tasks.map(({ store, task }) => [{ store, task: task.task }, value(task)]);
  const names = new Set(stores.flatMap(({ known }) => [...(known?.counters.keys() ?? [])]));
  // Tasks that have yet to run have no samples.
  const gauges =
    tasks.length === 0
      ? []
      : [
          family(
            'berth_maintenance_last_slice_seconds',
            'gauge',
            'Since a task of maintenance last ran on a store.',
            ofTasks(({ last_slice_at: at }) => Math.max(0, (now - at) / 1000)),
          ),
          family(
            'berth_maintenance_next_slice_seconds',
            'gauge',
            'Until it may run again; 0 for at once.',
            ofTasks(({ next_at: at }) => Math.max(0, (at - now) / 1000)),
          ),
          family(
            'berth_maintenance_slices',
            'gauge',
            'Slices of the round that is under way, or that ended last.',
            ofTasks(({ slices }) => slices),
          ),
          family(
            'berth_maintenance_stopped',
            'gauge',
            'Whether something keeps the task from its work: /api/maintenance says what.',
            ofTasks(({ stopped }) => (stopped === null ? 0 : 1)),
          ),
        ];
  const counters = [...names].toSorted().map((name) =>
    family(
      `berth_${name}_total`,
      'counter',
      'What maintenance has done: docs/operations.md has the list.',
      stores.flatMap(({ store, known }): Sample[] => {
        const value = known?.counters.get(name);
        return value === undefined ? [] : [[{ store }, value]];
      }),
    ),
  );
  const enabled = family(
    'berth_collection_enabled',
    'gauge',
    'Whether the configuration lets anything be collected or evicted.',
    [[{}, collects ? 1 : 0]],
  );
  return [enabled, ...gauges, ...counters].join('');
}

function renderUsage(usage: Awaited<ReturnType<typeof usageOfMost>>): string {
  const shown = `Of the ${ORGANIZATIONS} organizations that use most.`;
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
      'Bytes that an organization uses of its quota.',
      each(({ used }) => used),
    ),
    gauge('quota_bytes', 'Bytes that it may use; without a quota no sample.', quotas),
    gauge(
      'manifest_bytes',
      'Bytes of its manifests, part of what it uses.',
      each((row) => row.manifest_bytes),
    ),
    gauge(
      'manifests',
      'Its live manifests.',
      each(({ manifests }) => manifests),
    ),
    gauge(
      'tags',
      'Its tags.',
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

/** Labels are names of stores and organizations, and numbers: nothing in them needs escaping. */
function line(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const inner = Object.entries(labels)
    .map(([label, text]) => `${label}="${text}"`)
    .join(',');
  return `${name}${inner === '' ? '' : `{${inner}}`} ${value}\n`;
}
