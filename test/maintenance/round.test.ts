/** The engine of maintenance: what a task's row says, what stops a task, and what goes on regardless. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HOUR, MINUTE } from '../../src/durations.ts';
import { type Counts, goRound, runLane, type Slice, type Task } from '../../src/maintenance/round.ts';
import { Stopped } from '../../src/maintenance/stopped.ts';
import { OciError } from '../../src/oci/errors.ts';
import { OutOfStatements } from '../../src/stores/statement-meter.ts';
import { contextOf, rowsAt } from '../support/collecting.ts';
import { type HostName, type Hosts, openHosts } from '../support/hosts.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

afterEach(() => void vi.restoreAllMocks());

type Answer = () => Slice | undefined;

/** A task whose slices give these answers one after another, and then find nothing to do. */
function taskOf(answers: readonly Answer[], more: Partial<Task> = {}): Task & { readonly starts: string[] } {
  const starts: string[] = [];
  const left = [...answers];
  return {
    name: 'test',
    at: 'central',
    every: () => HOUR,
    slice: async (_context, _store, { position }) => {
      starts.push(position);
      return left.shift()?.();
    },
    starts,
    ...more,
  };
}

const run = (task: Task): Promise<void> => goRound(contextOf(hosts), task, hosts.central.store);

function row(host: HostName = 'central'): Promise<Record<string, unknown> | undefined> {
  return rowsAt(host, "SELECT * FROM maintenance_tasks WHERE task = 'test'").then(([found]) => found);
}

const throws = (error: unknown) => (): never => {
  throw error;
};

test('a round goes on where its last slice ended, and the next round begins when it is due', async () => {
  const task = taskOf([
    () => ({ position: 'a' }),
    () => ({ position: undefined, counts: { things: 2, others: 0 } }),
    () => ({ position: undefined }),
  ]);
  const { now } = hosts;
  await run(task);
  expect(await row()).toMatchObject({
    position: '',
    slices: 2,
    round_started_at: now,
    round_ended_at: now,
    next_at: now + HOUR,
  });
  await run(task);
  expect(task.starts).toEqual(['', 'a']);
  hosts.now += HOUR;
  await run(task);
  expect(task.starts).toEqual(['', 'a', '']);
  expect(await rowsAt('central', 'SELECT * FROM maintenance_counters')).toEqual([{ name: 'things', value: 2 }]);
});

test('a row says when the last slice ended, and a round ends with its last slice', async () => {
  const { now } = hosts;
  let stops = false;
  const task = taskOf([], {
    slice: async () => {
      hosts.now += MINUTE;
      if (stops) throw new Stopped('node1 lags');
      return { position: undefined };
    },
  });
  await run(task);
  expect(await row()).toMatchObject({
    round_started_at: now,
    round_ended_at: now + MINUTE,
    last_slice_at: now + MINUTE,
    next_at: now + HOUR,
  });
  stops = true;
  hosts.now = now + HOUR;
  await run(task);
  expect(await row()).toMatchObject({ round_ended_at: now + MINUTE, last_slice_at: now + HOUR + MINUTE });
});

test('a slice with nothing to do leaves no row', async () => {
  await run(taskOf([]));
  expect(await row()).toBeUndefined();
});

test('a slice that stops reports why, and is tried again at the same position', async () => {
  const task = taskOf([() => ({ position: 'a' }), throws(new Stopped('node1 lags')), () => ({ position: undefined })]);
  await run(task);
  expect(await row()).toMatchObject({ position: 'a', slices: 2, stopped: 'node1 lags' });
  await run(task);
  expect(task.starts).toEqual(['', 'a', 'a']);
  expect(await row()).toMatchObject({ position: '', slices: 3, stopped: null });
});

test('a slice that has nothing to do clears the reason why the last one stopped', async () => {
  const task = taskOf([throws(new Stopped('node1 lags'))]);
  await run(task);
  expect(await row()).toMatchObject({ stopped: 'node1 lags', next_at: 0 });
  await run(task);
  expect(await row()).toMatchObject({ position: '', stopped: null });
});

test('a store that does not answer is reported and logged', async () => {
  const error = new OciError('UNAVAILABLE', { cause: new Error('gone') });
  await expect(run(taskOf([throws(error)]))).rejects.toBe(error);
  expect(await row()).toMatchObject({ stopped: 'the database or the bucket of central does not answer: Error: gone' });
  const cause = new Error('R2');
  await expect(run(taskOf([throws(new Stopped('the bucket is away', { cause }))]))).rejects.toBe(cause);
  expect(await row()).toMatchObject({ stopped: 'the bucket is away' });
});

test('no run begins a slice while another is under way, and a later run goes on after a killed one', async () => {
  let others = 0;
  const other = taskOf([() => ({ position: undefined })], { alone: 10 * MINUTE });
  const task = taskOf([], {
    alone: 10 * MINUTE,
    slice: async () => {
      await run(other);
      others = other.starts.length;
      throw new Error('killed');
    },
  });
  await expect(run(task)).rejects.toThrow('killed');
  expect(others).toBe(0);
  await run(other);
  expect(other.starts).toEqual([]);
  hosts.now += 10 * MINUTE;
  await run(other);
  expect(other.starts).toEqual(['']);
});

test('the next slice goes on at the position and the time that a long slice has saved', async () => {
  const notBefore = hosts.now + HOUR;
  const starts: string[] = [];
  const task = taskOf([], {
    slice: async (_context, _store, { position }, save) => {
      starts.push(position);
      await save({ position: 'half', notBefore, counts: { things: 1 } });
      throw new Stopped('no more');
    },
  });
  await run(task);
  expect(await row()).toMatchObject({ position: 'half', next_at: notBefore, slices: 1, stopped: 'no more' });
  await run(task);
  hosts.now = notBefore;
  await run(task);
  expect(starts).toEqual(['', 'half']);
});

test('a lane runs each task at its stores, and a failure is logged and delays nothing else', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const seen: string[] = [];
  const task = (name: string, at: Task['at'], fails?: HostName): Task => ({
    ...taskOf([], { at }),
    name,
    slice: async (_context, store) => {
      seen.push(`${name} ${store.name}`);
      if (store.name === fails) throw new Error('fails');
      return { position: undefined, counts: { things: 1 } };
    },
  });
  const counts: Counts = new Map();
  const tasks = [task('a', 'every store', 'node1'), task('b', 'node'), task('c', 'central')];
  const context = contextOf(hosts);
  await runLane(context, { stores: 'central first', tasks }, [context.central, ...context.nodes], counts);
  expect(seen.slice(0, 2)).toEqual(['a central', 'c central']);
  expect(seen.slice(2).toSorted()).toEqual(['a node1', 'a node2', 'b node1', 'b node2']);
  expect(counts).toEqual(new Map([['things', 5]]));
  expect(log.mock.calls.flat().join()).toMatch(/"maintenance":"Error: fails","task":"a","store":"node1"/);
});

test('a task takes no more of a pass than its share', async () => {
  const endless = taskOf([], { share: MINUTE, at: 'node' });
  let slices = 0;
  const task: Task = {
    ...endless,
    slice: async () => {
      hosts.now += MINUTE / 2;
      return { position: String(++slices) };
    },
  };
  const context = contextOf(hosts);
  await runLane(context, { stores: 'all at once', tasks: [task] }, context.nodes.slice(0, 1), new Map());
  expect(slices).toBe(2);
  expect(await row('node1')).toMatchObject({ position: '2' });
});

test('a slice that exceeds the statements of its run is logged', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const task = taskOf([throws(new OutOfStatements('900 of 900'))]);
  await runLane(contextOf(hosts), { stores: 'all at once', tasks: [task] }, [hosts.central.store], new Map());
  expect(log.mock.calls.flat().join()).toMatch(
    /"maintenance":"OutOfStatements: 900 of 900","task":"test","store":"central"/,
  );
});
