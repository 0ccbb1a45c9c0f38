/** The files in `deploy/` query only metrics that `/metrics` serves. docs/operations.md documents all of these. */
import { env } from 'cloudflare:workers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import rulesTests from '../../deploy/alerts.test.yml?raw';
import rules from '../../deploy/alerts.yml?raw';
import grafana from '../../deploy/dashboard.json?raw';
import operations from '../../docs/operations.md?raw';
import { MINUTE } from '../../src/durations.ts';
import { maintain, scrubStores } from '../../src/maintenance/schedule.ts';
import type { StoreName } from '../../src/namespaces/namespace.ts';
import { call } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { BUCKETS, DAY } from '../support/objects.ts';
import { api, config, applyChangeLog, NODE1, startQueues, stopQueues } from '../support/queues.ts';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly type: string; readonly query: string | { readonly query: string } }[];
  };
}

/** A query, and the text that shows labels of its result. */
interface Query {
  readonly name: string;
  readonly expression: string;
  readonly shown: string;
}

const dashboard = JSON.parse(grafana) as Dashboard;

/** Alert rules as `oxfmt` formats them: an expression is the rest of its line, or the deeper lines after it. */
const alerts: Query[] = rules
  .split(/^ +- alert: /m)
  .slice(1)
  .map((rule) => {
    const [, inline = '', block = ''] = /^ +expr: (?:>-\n((?: {10}.*\n)+)|(.*\n))/m.exec(rule) ?? [];
    return { name: rule.split('\n')[0] ?? '', expression: inline + block, shown: rule };
  });

const panels: Query[] = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr, legendFormat }) => ({ name: title, expression: expr, shown: legendFormat })),
);

const variables: Query[] = dashboard.templating.list.flatMap(({ type, query }) =>
  type === 'query' && typeof query !== 'string' ? [{ name: 'variable', expression: query.query, shown: '' }] : [],
);

/** The metrics, where a histogram counts as one. */
const families: string[] = [];
/** Each metric with the labels of its samples. */
const served = new Map<string, Set<string>>();
/** `label=value` of every sample. */
const servedValues = new Set<string>();

beforeAll(async () => {
  await startQueues();
  await putImage('alice/app', 1, ['kept'], { as: 'alice', host: NODE1 });
  await putImage('alice/app', 5, ['deleted'], { as: 'alice', host: NODE1 });
  for (const tag of ['kept', 'deleted']) {
    await api('GET', `organizations/alice/repositories/app/images/${tag}?wait=60`, { as: 'alice', host: NODE1 });
  }
  await api('PUT', 'organizations/alice/quota', { as: 'admin', body: { bytes: 5000 } });
  const objects = await BUCKETS.node1.list();
  await BUCKETS.node1.delete(objects.objects.map(({ key }) => key));
  await maintain(config, env, Date.now());
  await scrubStores(config, env, Date.now());
  await maintain(config, env, Date.now() + MINUTE);
  await call('DELETE', '/v2/alice/app/manifests/deleted', { as: 'alice' });
  await applyChangeLog();
  const evictionLimits = new Map([['node1' as StoreName, { bytes: undefined, idleMilliseconds: DAY }]]);
  for (const days of [5, 6, 7]) await maintain({ ...config, evictionLimits }, env, Date.now() + days * DAY);
  const text = await (await call('GET', '/metrics', { as: 'admin' })).text();
  families.push(...[...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name));
  for (const [, metric = '', labels = ''] of text.matchAll(/^(berth_\w+)(?:\{(.*)\})? /gm)) {
    const known = served.get(metric) ?? new Set();
    for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      known.add(label);
      servedValues.add(`${label}=${value}`);
    }
    served.set(metric, known);
  }
});

afterAll(stopQueues);

function metricsOf(expression: string): string[] {
  return [...expression.matchAll(/\bberth_\w+/g)].map(([metric]) => metric);
}

/** Returns the labels that a query groups by, and those that its text shows. */
function labelsOf({ expression, shown }: Query): string[] {
  const lists = [...expression.matchAll(/\b(?:by|on|without|ignoring) \(([^)]+)\)|label_values\(\w+, (\w+)\)/g)];
  const used = [...shown.matchAll(/\{\{ ?(?:\$labels\.)?(\w+) ?\}\}/g)];
  return [
    ...lists.flatMap(([, list, label = '']) => list?.split(', ') ?? label),
    ...used.map(([, label = '']) => label),
  ];
}

/** Labels that Prometheus itself adds to what it scrapes. */
const OF_PROMETHEUS = ['job', 'instance'];

describe.each([
  ['alert', alerts],
  ['panel', panels],
  ['variable', variables],
])('every %s', (_kind, queries) => {
  test('is found, and names a metric', () => {
    expect(queries).not.toEqual([]);
    expect(
      queries.filter(({ expression }) => metricsOf(expression).length === 0 && !expression.includes('up{')),
    ).toEqual([]);
  });

  test('names only metrics that are served', () => {
    expect(queries.flatMap(({ expression }) => metricsOf(expression)).filter((metric) => !served.has(metric))).toEqual(
      [],
    );
  });

  test('selects by labels and values that the metric has', () => {
    for (const { name, expression } of queries) {
      for (const [, metric = '', matchers = ''] of expression.matchAll(/\b(berth_\w+)\{([^}]*)\}/g)) {
        for (const [matcher, label = '', pattern = ''] of matchers.matchAll(/(\w+)[=!~]+"([^"]*)"/g)) {
          expect([name, matcher, served.get(metric)?.has(label)]).toEqual([name, matcher, true]);
          // Grafana replaces $store with the stores that the user selects.
          const missing = pattern
            .split('|')
            .filter((value) => !value.startsWith('$') && !servedValues.has(`${label}=${value}`));
          expect([name, matcher, missing]).toEqual([name, matcher, []]);
        }
      }
    }
  });

  test('groups by and shows only labels that its metrics have', () => {
    for (const query of queries) {
      const known = new Set(OF_PROMETHEUS);
      for (const metric of metricsOf(query.expression)) for (const label of served.get(metric) ?? []) known.add(label);
      expect([query.name, labelsOf(query).filter((label) => !known.has(label))]).toEqual([query.name, []]);
    }
  });
});

test('every alert has a unit test in which it fires, and one in which it does not', () => {
  for (const { name } of alerts) {
    const tested = rulesTests.split(new RegExp(`alertname: ${name}\n`)).slice(1);
    const outcomes = tested.map((rest) => rest.trimStart().startsWith('exp_alerts: []'));
    expect([name, new Set(outcomes)]).toEqual([name, new Set([true, false])]);
  }
});

test('operations.md names every alert', () => {
  expect(alerts.filter(({ name }) => !operations.includes(`\`${name}\``)).map(({ name }) => name)).toEqual([]);
});

test('the tables of operations.md name every metric, and no other', () => {
  const cells = [...operations.matchAll(/^\| (`[^|]+) \|/gm)].map(([, cell = '']) => cell);
  const named = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name));
  // The counters of maintenance are listed by their names in the store.
  const counterOf = (family: string): string => family.replace(/^berth_(\w+)_total$/, '$1');
  expect(families.filter((family) => !named.includes(family) && !named.includes(counterOf(family)))).toEqual([]);
  expect(named.filter((name) => name.startsWith('berth_') && !families.includes(name))).toEqual([]);
});

test('the panels of the dashboard have distinct ids and do not overlap', () => {
  const ids = dashboard.panels.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(dashboard.panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([]);
});
