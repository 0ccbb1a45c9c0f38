/** Figures over time, over HTTP: of the nodes' real queues, and of an organization's use. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { env } from 'cloudflare:workers';
import { DAY, HOUR } from '../../../src/durations.ts';
import { measureRepositories } from '../../../src/maintenance/largest-repositories.ts';
import { goRound } from '../../../src/maintenance/round.ts';
import { usageOfDay } from '../../../src/maintenance/usage-of-day.ts';
import { queueOf } from '../../../src/replication/durable-object.ts';
import { HOURS_KEPT } from '../../../src/replication/queue-state.ts';
import { MOST_HOURS_OF_ALL } from '../../../src/replication/series.ts';
import { openStore } from '../../../src/stores/store.ts';
import { basic, call } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { openRun } from '../../support/maintenance.ts';
import { api, applyChangeLog, config, NODE1, NODE2, startQueues, stopQueues } from '../../support/queues.ts';
import { pushTo, settled } from '../../support/replicated-image.ts';

beforeEach(startQueues);
afterEach(stopQueues);

interface Hour extends Readonly<Record<string, unknown>> {
  readonly manifests: number;
  readonly announce_seconds: { readonly count: number };
}

async function hoursOf(path: string): Promise<readonly Hour[]> {
  const { status, body } = await api('GET', `replication/${path}`, { as: 'admin' });
  expect(status).toBe(200);
  expect(body).toMatchObject({ complete: true });
  return (body as { hours: Hour[] }).hours;
}

/** Adds up hours, because a test may run while one ends. */
function sum(hours: readonly Hour[], field: string): number {
  return hours.reduce((total, hour) => total + Number(hour[field]), 0);
}

describe('the series of queues', () => {
  test('shows the hourly figures of each node, and of all of them', async () => {
    await pushTo(NODE1, 1);
    await settled();
    const other = await putImage('alice/other', 2, ['latest'], { as: 'alice', host: NODE2 });
    await api('GET', 'organizations/alice/repositories/other/images/latest?wait=60', { as: 'alice', host: NODE2 });
    await call('DELETE', `/v2/alice/other/manifests/${other.digest}`, { as: 'alice' });
    await applyChangeLog();
    const [node1, all] = [await hoursOf('queues/node1/series'), await hoursOf('series')];
    expect(node1.every(({ at }) => Date.parse(String(at)) % HOUR === 0)).toBe(true);
    expect([sum(node1, 'manifests'), sum(node1, 'announced'), sum(node1, 'settled')]).toEqual([1, 1, 2]);
    expect(sum(node1, 'copied_up_bytes')).toBeGreaterThan(0);
    expect(sum(node1, 'deletions')).toBeGreaterThan(0);
    expect([sum(all, 'manifests'), sum(all, 'announced'), sum(all, 'settled')]).toEqual([2, 2, 4]);
    expect(all.reduce((count, hour) => count + hour.announce_seconds.count, 0)).toBe(2);
  });

  test('shows the bytes that a node holds, if it counts them', async () => {
    await pushTo(NODE1, 1);
    await settled();
    await env.DB_NODE1!.prepare("INSERT INTO stored_bytes VALUES ('node1', 700, '~')").run();
    await queueOf(env, config, 'node1').everyMinute('node1');
    const held = (hours: readonly Hour[]): unknown[] => hours.map(({ held_bytes: bytes }) => bytes);
    expect(held(await hoursOf('queues/node1/series'))).toContain(700);
    expect(held(await hoursOf('series'))).not.toContain(700);
  });

  test('without activity is empty', async () => {
    expect(await hoursOf('queues/node2/series?hours=2160')).toEqual([]);
  });

  test.each([
    ['series', MOST_HOURS_OF_ALL],
    ['queues/node1/series', HOURS_KEPT],
  ])('of %s goes back %i hours at most', async (path, most) => {
    const statuses = [];
    for (const hours of [1, most, most + 1, 0, -1, 1.5, '1e1', 'x'])
      statuses.push((await api('GET', `replication/${path}?hours=${hours}`, { as: 'admin' })).status);
    expect(statuses).toEqual([200, 200, 400, 400, 400, 400, 400, 400]);
  });
});

describe('the use of an organization', () => {
  let today: number;
  const central = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] });
    today = Math.floor(Date.now() / DAY) * DAY;
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  /** Runs the task on days that are counted from today. */
  async function note(...days: readonly number[]): Promise<void> {
    for (const day of days)
      await goRound(openRun({ central, nodes: [], now: () => today + day * DAY }), usageOfDay, central);
  }

  async function daysOf(organization: string): Promise<unknown> {
    const { body } = await api('GET', `organizations/${organization}/usage/days`, { as: 'admin' });
    return (body as { days: unknown }).days;
  }

  const dateOf = (day: number): string => new Date(today + day * DAY).toISOString().slice(0, 10);

  test('is noted once a day, for 90 days', async () => {
    await env.DB_CENTRAL.prepare('UPDATE organizations SET created_at = 0').run();
    await note(-90, -89);
    const { bytes } = await putImage('alice/app', 1, ['latest']);
    await api('PUT', 'organizations/alice/quota', { as: 'admin', body: { bytes: 5000 } });
    await note(-1, 0);
    const used = 100 + bytes.byteLength;
    expect(await daysOf('alice')).toEqual([
      { day: dateOf(-89), used: 0, quota: null },
      { day: dateOf(-1), used, quota: 5000 },
      { day: dateOf(0), used, quota: 5000 },
    ]);
    const old = await env.DB_CENTRAL.prepare('SELECT count(*) AS rows FROM usage_by_day WHERE day <= ?1')
      .bind(today / DAY - 90)
      .first();
    expect(old).toEqual({ rows: 0 });
  });

  test('is shown by repository, and to an admin of some repositories only for those', async () => {
    await putImage('alice/app', 1, ['latest']);
    await putImage('alice/other', 2, ['latest']);
    const path = 'organizations/alice/usage/repositories';
    expect((await api('GET', path, { as: 'admin' })).body).toEqual({
      measured_at: null,
      repositories: [],
      others: { repositories: 0, bytes: 0 },
    });
    await goRound(openRun({ central, nodes: [], now: () => Date.now() }, {}), measureRepositories, central);
    const each = { bytes: 100, unshared: 100, share: 100 };
    const [app, other] = [
      { name: 'alice/app', ...each },
      { name: 'alice/other', ...each },
    ];
    expect((await api('GET', path, { as: 'admin' })).body).toMatchObject({
      repositories: expect.arrayContaining([app, other]),
      others: { repositories: 0, bytes: 0 },
    });
    const ofApp = await api('POST', 'organizations/alice/credentials', {
      as: 'admin',
      body: { name: 'app-admin', rights: ['admin'], repositories: ['alice/app'] },
    });
    const { secret } = ofApp.body as { secret: string };
    const as = { authorization: basic({ name: 'app-admin', password: secret }) };
    expect((await api('GET', path, { as })).body).toMatchObject({
      repositories: [app],
      others: { repositories: 1, bytes: 100 },
    });
  });

  test('is hidden from the next owner of its name', async () => {
    await note(-2);
    await env.DB_CENTRAL.prepare("UPDATE organizations SET created_at = ?1 WHERE name = 'alice'")
      .bind(today - DAY + 1)
      .run();
    await note(-1, 0);
    expect(await daysOf('alice')).toEqual([{ day: dateOf(0), used: 0, quota: null }]);
  });
});
