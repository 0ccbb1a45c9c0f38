/** After a host's clock was days ahead for a while, no maintenance task may wait for days. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { maintain } from '../../../src/maintenance/schedule.ts';
import { DAY, MINUTE } from '../../../src/durations.ts';
import { HOUR, objectsAt, pushBlob, pushImage } from '../../support/collecting.ts';
import { faulty } from '../../support/faults.ts';
import { GRACE } from '../../support/fixture.ts';
import { openHosts } from '../../support/hosts.ts';
import { DATABASES } from '../../support/objects.ts';

const AHEAD = 30 * DAY;

const config = {
  ...parseConfig(env),
  evictionLimits: new Map([['node1', { bytes: 1_000_000, idleMilliseconds: undefined }]]),
};

interface Task {
  readonly task: string;
  readonly position: string;
  readonly round_ended_at: number | null;
  readonly last_slice_at: number;
  readonly next_at: number;
}

async function tasks(): Promise<Map<string, Task>> {
  const all = await Promise.all(
    Object.entries(DATABASES).map(async ([store, database]) => {
      const { results } = await database.prepare('SELECT * FROM maintenance_tasks').all<Task>();
      return results.map((task) => [`${store} ${task.task}`, task] as const);
    }),
  );
  return new Map(all.flat());
}

test('every task is due again once the clock is right', async () => {
  const hosts = await openHosts();
  await pushImage(hosts.node1, 10, ['a']);
  await hosts.drain();
  const start = hosts.now;
  for (let i = 0; i < 3; i++) await maintain(config, env, start + AHEAD + i * MINUTE);
  const ahead = await tasks();
  expect([...ahead.keys()].length).toBeGreaterThan(10);

  // An unreferenced blob from before that time.
  await pushBlob(hosts.node2, 2);
  const now = start + 3 * GRACE;
  for (let i = 0; i < 3; i++) await maintain(config, env, now + i * MINUTE);
  const after = await tasks();
  const late = [...after].filter(
    ([, { last_slice_at: at, next_at: next }]) => at > now + 3 * MINUTE || next > now + DAY + HOUR,
  );
  expect(late.map(([name]) => name)).toEqual([]);
  const repeated = [...ahead.keys()].filter((name) => !name.endsWith(' delete_queue'));
  expect(repeated.filter((name) => (after.get(name)?.last_slice_at ?? 0) < now)).toEqual([]);
  await maintain(config, env, now + 2 * HOUR);
  expect((await objectsAt('node2')).length).toBe(0);
});

test('a task that is stopped in the first minute of the right clock is due in the next minute', async () => {
  const hosts = await openHosts();
  const start = hosts.now;
  await maintain(config, env, start + AHEAD);
  await pushBlob(hosts.central, 2);
  const now = start + 3 * GRACE;
  const away = faulty(env, ({ store }) => (store === 'node1' ? 'before' : 'ok'));
  await maintain(config, away, now);
  expect((await objectsAt('central')).length).toBe(1);
  await maintain(config, env, now + MINUTE);
  await maintain(config, env, now + MINUTE + 2 * HOUR);
  expect((await objectsAt('central')).length).toBe(0);
});

test('a round that began before the clock was set back ends, and the next round is on time', async () => {
  const hosts = await openHosts();
  const start = hosts.now;
  await DATABASES.central
    .prepare(
      `INSERT INTO maintenance_tasks (task, position, round_started_at, round_ended_at, last_slice_at, next_at, slices)
       VALUES ('tombstones', ?1, ?2, ?2, ?3, 0, 1)`,
    )
    .bind(JSON.stringify({ phase: 'tags', version: -1, repository: '', key: '' }), start + AHEAD, start)
    .run();
  await maintain(config, env, start);
  const task = (await tasks()).get('central tombstones');
  expect(task?.position).toBe('');
  expect(task?.next_at).toBeLessThan(start + GRACE / 4 + MINUTE);
});

test('a comparison that was killed while the clock was ahead goes on afterwards', async () => {
  const hosts = await openHosts();
  const start = hosts.now;
  const killed = faulty(env, ({ kind }) => (kind === 'list' ? 'before' : 'ok'));
  await maintain(config, killed, start + AHEAD);
  await maintain(config, env, start + MINUTE);
  await maintain(config, env, start + 2 * MINUTE);
  expect((await tasks()).get('central comparison')?.round_ended_at).toBeLessThan(start + HOUR);
});
