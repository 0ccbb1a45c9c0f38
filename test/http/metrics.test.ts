/** `/metrics`, read as Prometheus reads it. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { largestOrganizations } from '../../src/maintenance/largest-organizations.ts';
import { goRound } from '../../src/maintenance/round.ts';
import { composeStores } from '../../src/registry/compose.ts';
import { call, HOST, type UserName } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { openRun } from '../support/maintenance.ts';
import { api, applyChangeLog, NODE1, queue, startQueues, stopQueues } from '../support/queues.ts';

beforeEach(startQueues);
afterEach(stopQueues);

interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
  }[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\\\\n]|\\\\["\\\\n])*)"';
const SAMPLE = new RegExp(
  `^(${NAME})(?:\\{((?:${LABEL})(?:,${LABEL})*)\\})? ([-+]?(?:\\d+(?:\\.\\d+)?(?:e[-+]?\\d+)?|Inf|NaN))$`,
  'i',
);

/**
 * Parses the text exposition format 0.0.4: HELP and TYPE of a family come before its samples, each family in one piece.
 */
function parse(text: string): Map<string, Family> {
  expect(text.endsWith('\n')).toBe(true);
  const families = new Map<string, Family>();
  let current = '';
  for (const line of text.split('\n').slice(0, -1)) {
    const [, kind, name = '', rest = ''] = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line) ?? [];
    if (kind === 'HELP') {
      expect(families.has(name), line).toBe(false);
      families.set(name, { type: '', help: rest, samples: [] });
      current = name;
      continue;
    }
    const family = families.get(current);
    if (kind === 'TYPE') {
      expect([name, family?.type], line).toEqual([current, '']);
      expect(['counter', 'gauge', 'histogram'], line).toContain(rest);
      families.set(name, { type: rest, help: family?.help ?? '', samples: [] });
      continue;
    }
    const [, sample = '', labels = '', ...parts] = SAMPLE.exec(line) ?? [];
    expect(SAMPLE.test(line), line).toBe(true);
    const names =
      family?.type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => `${current}${end}`) : [current];
    expect(names, line).toContain(sample);
    const pairs = [...labels.matchAll(new RegExp(LABEL, 'g'))].map(([, key = '', value = '']) => [key, value] as const);
    family?.samples.push({
      name: sample,
      labels: Object.fromEntries(pairs),
      value: Number(parts.at(-1)?.replace('+Inf', 'Infinity')),
    });
  }
  return families;
}

async function metrics(host = HOST): Promise<Map<string, Family>> {
  const response = await call('GET', '/metrics', { as: 'admin', host });
  expect(response.status).toBe(200);
  expect(response.headers.get('Content-Type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(response.headers.get('Cache-Control')).toBe('no-store');
  return parse(await response.text());
}

function valueOf(families: ReadonlyMap<string, Family>, name: string, store = 'node1'): number | undefined {
  return families.get(name)?.samples.find(({ labels }) => labels['store'] === store)?.value;
}

const OF_NO_STORE = /^berth_(?:collection_|organization_|scrub_enabled$)/;

test.each([HOST, NODE1])('/metrics at %s is for administrators only', async (host) => {
  const callers: (UserName | undefined)[] = [undefined, 'alice', 'aliceReader', 'bob', 'official', 'platform', 'admin'];
  for (const as of callers) {
    const { status } = await call('GET', '/metrics', { host, ...(as === undefined ? {} : { as }) });
    expect([as, status]).toEqual([as, as === undefined ? 401 : as === 'admin' ? 200 : 403]);
  }
});

test('metrics are Prometheus text: every family once, with its help and type, and a sample for each store', async () => {
  const families = await metrics();
  expect(families.size).toBeGreaterThan(10);
  for (const [name, { type, help, samples }] of families) {
    expect([name, type === '' || help === '' || samples.length === 0]).toEqual([name, false]);
    const stores = new Set(samples.flatMap(({ labels }) => labels['store'] ?? []));
    expect([name, stores]).toEqual([name, OF_NO_STORE.test(name) ? new Set() : new Set(['node1', 'node2'])]);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    const series = samples.map((sample) => JSON.stringify([sample.name, sample.labels]));
    expect(new Set(series).size).toBe(series.length);
  }
});

test('metrics count announced pushes, copied blobs, and those that wait', async () => {
  const before = await metrics();
  expect(valueOf(before, 'berth_announced_total')).toBe(0);
  await queue('PATCH', '', { paused: true });
  await putImage('alice/app', 1, ['latest'], { as: 'alice', host: NODE1 });
  const waiting = await metrics();
  expect([valueOf(waiting, 'berth_queue_depth'), valueOf(waiting, 'berth_queue_paused')]).toEqual([1, 1]);
  expect(valueOf(waiting, 'berth_queue_oldest_outbox_entry_seconds')).toBeGreaterThanOrEqual(0);
  await queue('PATCH', '', { paused: false });
  const state = await api('GET', 'organizations/alice/repositories/app/images/latest?wait=60', {
    as: 'alice',
    host: NODE1,
  });
  expect(state.body).toMatchObject({ state: 'settled' });
  const after = await metrics();
  for (const [name, value] of Object.entries({
    berth_queue_up: 1,
    berth_queue_depth: 0,
    berth_queue_oldest_outbox_entry_seconds: 0,
    berth_queue_paused: 0,
    berth_queue_parked: 0,
    berth_copies_up_blobs: 0,
    berth_copies_up_bytes: 0,
    berth_announced_total: 1,
    berth_settled_total: 2,
    berth_copied_up_bytes_total: 100,
    berth_change_log_lag_entries: 0,
  })) {
    expect([name, valueOf(after, name)]).toEqual([name, value]);
  }
  expect(valueOf(after, 'berth_settled_total', 'node2')).toBe(0);
});

test('histograms are cumulative, end with +Inf, and agree with their count and sum', async () => {
  for (const seed of [1, 5, 9]) await putImage('alice/app', seed, [`t${seed}`], { as: 'alice', host: NODE1 });
  for (const seed of [1, 5, 9]) {
    await api('GET', `organizations/alice/repositories/app/images/t${seed}?wait=60`, { as: 'alice', host: NODE1 });
  }
  await applyChangeLog();
  const histograms = [...(await metrics())].filter(([, { type }]) => type === 'histogram');
  expect(histograms.length).toBeGreaterThan(0);
  for (const [name, { samples }] of histograms) {
    for (const store of ['node1', 'node2']) {
      const own = samples.filter(({ labels }) => labels['store'] === store);
      const buckets = own.filter((sample) => sample.name === `${name}_bucket`);
      const limits = buckets.map(({ labels }) => Number(labels['le']?.replace('+Inf', 'Infinity')));
      expect(limits).toEqual(limits.toSorted((a, b) => a - b));
      expect(limits.at(-1)).toBe(Infinity);
      const values = buckets.map(({ value }) => value);
      expect(values).toEqual(values.toSorted((a, b) => a - b));
      const [count, sum] = ['_count', '_sum'].map(
        (end) => own.find((sample) => sample.name === `${name}${end}`)?.value,
      );
      expect(count).toBe(values.at(-1));
      // An image has one outbox entry, which stands for its tag as well, and two blobs.
      expect(count).toBe(store === 'node2' ? 0 : name === 'berth_announce_seconds' ? 3 : 6);
      if (count === 0) expect(sum).toBe(0);
      else expect(sum).toBeGreaterThanOrEqual(0);
    }
  }
});

test("metrics show each organization's usage at any host, and the quotas that are set", async () => {
  await putImage('alice/app', 1, ['latest'], { as: 'alice' });
  expect((await api('PUT', 'organizations/alice/quota', { as: 'admin', body: { bytes: 5000 } })).status).toBe(200);
  const { body } = await api('GET', 'organizations/alice/usage', { as: 'admin' });
  const { used, ...counted } = body as { used: number; manifests: number; manifest_bytes: number; tags: number };
  expect(used).toBeGreaterThan(0);
  const organizations = await env.DB_CENTRAL.prepare('SELECT name FROM organizations ORDER BY name').all<{
    name: string;
  }>();
  for (const host of [HOST, NODE1]) {
    const families = await metrics(host);
    const samples = families.get('berth_organization_used_bytes')?.samples ?? [];
    expect(samples[0]).toMatchObject({ labels: { organization: 'alice' }, value: used });
    expect(samples.map(({ labels }) => labels['organization']).toSorted()).toEqual(
      organizations.results.map(({ name }) => name),
    );
    expect(families.get('berth_organization_quota_bytes')?.samples).toMatchObject([
      { labels: { organization: 'alice' }, value: 5000 },
    ]);
    for (const what of ['manifests', 'manifest_bytes', 'tags'] as const) {
      const [sample] = families.get(`berth_organization_${what}`)?.samples ?? [];
      expect(sample).toMatchObject({ labels: { organization: 'alice' }, value: counted[what] });
    }
  }
});

test('among many organizations, metrics show the 1,000 with the most usage, whatever their names', async () => {
  await env.DB_CENTRAL.batch([
    env.DB_CENTRAL.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
       INSERT INTO organizations (name, created_at) SELECT 'many' || printf('%04d', i), 0 FROM n`,
    ),
    env.DB_CENTRAL.prepare(
      `INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed)
       SELECT name, 1, substr(name, 5) + 0, 0, 0, 0 FROM organizations WHERE name GLOB 'many*'`,
    ),
  ]);
  const [central] = composeStores(parseConfig(env), env);
  await goRound(openRun({ central, nodes: [], now: Date.now }), largestOrganizations, central);
  const samples = (await metrics()).get('berth_organization_used_bytes')?.samples ?? [];
  expect(samples.map(({ value }) => value)).toEqual(Array.from({ length: 1000 }, (_, i) => 1500 - i));
});
