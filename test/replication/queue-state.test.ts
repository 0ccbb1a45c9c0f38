/** The rules of a queue's state, both in the Durable Object's storage and in the memory that other tests use. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { type ReplicationQueue, queueOf } from '../../src/replication/durable-object.ts';
import { copyUpJob, copyDownJob, isDue, type Job, LONGEST_DELAY_MILLISECONDS } from '../../src/replication/machine.ts';
import { BUCKETS, type CopyDown, HOURS_KEPT, type QueueState } from '../../src/replication/queue-state.ts';
import { HOUR } from '../../src/durations.ts';
import { SqlQueueState } from '../../src/replication/sql-queue-state.ts';
import { MemoryQueueState } from '../support/memory-queue-state.ts';
import { config, stopQueues } from '../support/queues.ts';

const APP = 'alice/app' as RepositoryName;
const NOW = 1000;

const digestNo = (i: number): Digest => `sha256:${i.toString(16).padStart(64, '0')}` as Digest;
const copyDownNumber = (i: number, repository: string = APP): CopyDown => ({
  repository: repository as RepositoryName,
  digest: digestNo(i),
});
const due = (changes: Partial<Job> = {}): Job => ({
  attempts: 1,
  nextAt: NOW,
  parked: false,
  error: 'it failed',
  ...changes,
});
const waiting = due({ nextAt: NOW + 1 });
const parked = due({ attempts: 12, nextAt: 5, parked: true });
const idsOf = (jobs: readonly { readonly id: string }[]): string[] => jobs.map(({ id }) => id);

/** `again` returns the state as it is read back after the queue was killed. */
type Rule = (state: QueueState, again: () => QueueState) => void;

const RULES: Readonly<Record<string, Rule>> = {
  'a job keeps its last value until it is forgotten': (state, again) => {
    expect(state.job('a')).toBeUndefined();
    state.setJob('a', waiting);
    state.setJob('a', parked);
    expect(again().job('a')).toMatchObject(parked);
    state.forgetJob('b');
    state.forgetJob('a');
    expect(again().job('a')).toBeUndefined();
  },
  'jobs are forgotten by the prefix of their ids': (state) => {
    for (const id of ['announce tag a/b c 1', 'announce tag a/b c 2', 'announce tag a/b cc 1', 'announce tag a/b']) {
      state.setJob(id, parked);
    }
    state.forgetJobs('announce tag a/b c ');
    expect(idsOf(state.parkedJobs('', 10))).toEqual(['announce tag a/b', 'announce tag a/b cc 1']);
  },
  'waiting jobs are those that are parked or not yet due, sorted by id': (state) => {
    for (const i of [5, 2, 9, 1]) state.setJob(copyUpJob(digestNo(i)), i === 9 ? due() : i === 2 ? parked : waiting);
    state.setJob(copyDownJob(APP, digestNo(1)), waiting);
    const ids = [1, 2, 5].map((i) => copyUpJob(digestNo(i)));
    expect(idsOf(state.waitingJobs(copyUpJob(''), NOW, 10))).toEqual(ids);
    expect(state.waitingJobs(copyUpJob(''), NOW, 10)[1]).toEqual({ id: ids[1], ...parked });
    expect(idsOf(state.waitingJobs(copyUpJob(''), NOW, 2))).toEqual(ids.slice(0, 2));
    expect(idsOf(state.waitingJobs(copyUpJob(''), NOW + 1, 10))).toEqual([ids[1]]);
    expect(state.waitingJobs('copy up z', NOW, 10)).toEqual([]);
  },
  'parked jobs come in pages by id': (state) => {
    for (const id of ['c', 'a', 'd', 'b', 'e']) state.setJob(id, id === 'd' ? waiting : parked);
    expect(idsOf(state.parkedJobs('', 2))).toEqual(['a', 'b']);
    expect(idsOf(state.parkedJobs('b', 2))).toEqual(['c', 'e']);
    expect(state.parkedJobs('e', 2)).toEqual([]);
    expect(state.parkedCount()).toBe(4);
  },
  'the next attempt is the earliest future one': (state) => {
    expect(state.nextAttempt(0, NOW)).toBeUndefined();
    state.setJob('a', due({ nextAt: 30 }));
    state.setJob('b', due({ nextAt: 20 }));
    state.setJob('c', { ...parked, nextAt: 10 });
    expect([0, 20, 29, 30].map((after) => state.nextAttempt(after, NOW))).toEqual([20, 30, 30, undefined]);
  },
  'a job that waits longer than any failure requires is due, because the clock was ahead': (state) => {
    const day = 24 * 3_600_000;
    const ahead = due({ nextAt: NOW + 3 * day });
    state.setJob(copyUpJob(digestNo(1)), ahead);
    state.setJob(copyUpJob(digestNo(2)), due({ nextAt: NOW + LONGEST_DELAY_MILLISECONDS }));
    state.setJob(copyUpJob(digestNo(3)), { ...ahead, parked: true });
    expect(isDue(ahead, NOW)).toBe(true);
    expect(isDue({ ...ahead, parked: true }, NOW)).toBe(false);
    expect(idsOf(state.waitingJobs(copyUpJob(''), NOW, 10))).toEqual([2, 3].map((i) => copyUpJob(digestNo(i))));
    expect(state.nextAttempt(0, NOW)).toBe(NOW + LONGEST_DELAY_MILLISECONDS);
    state.forgetJob(copyUpJob(digestNo(2)));
    expect(state.nextAttempt(0, NOW)).toBeUndefined();
    state.addCopyDown(copyDownNumber(4));
    state.setJob(copyDownJob(APP, digestNo(4)), ahead);
    expect(state.dueCopiesDown(NOW, '', 10)).toEqual([copyDownNumber(4)]);
  },
  'a retry makes one job due, or all parked jobs': (state) => {
    for (const id of ['a', 'b']) state.setJob(id, parked);
    state.setJob('c', waiting);
    const again = { attempts: 0, nextAt: 0, parked: false, error: 'it failed' };
    expect(state.retry('nothing')).toBe(0);
    expect(state.retry('a')).toBe(1);
    expect(state.job('a')).toMatchObject(again);
    expect(state.retry(undefined)).toBe(1);
    expect([state.job('b'), state.job('c')]).toMatchObject([again, waiting]);
    expect(state.retry('c')).toBe(1);
    expect(state.job('c')).toMatchObject(again);
  },
  'copies down are due in the order of their first request': (state, again) => {
    for (const i of [3, 1, 2, 1, 3]) state.addCopyDown(copyDownNumber(i));
    expect(again().dueCopiesDown(NOW, '', 10)).toEqual([3, 1, 2].map((i) => copyDownNumber(i)));
    expect(state.dueCopiesDown(NOW, '', 2)).toEqual([3, 1].map((i) => copyDownNumber(i)));
    state.removeCopyDown(copyDownNumber(3));
    state.addCopyDown(copyDownNumber(3));
    expect(state.dueCopiesDown(NOW, '', 10)).toEqual([1, 2, 3].map((i) => copyDownNumber(i)));
  },
  'organizations take turns with copies down, across all of their repositories': (state) => {
    for (const i of [1, 2, 3]) state.addCopyDown(copyDownNumber(i, i === 2 ? 'alice/other' : APP));
    for (const i of [4, 5]) state.addCopyDown(copyDownNumber(i, 'alic/app'));
    const inTurn = [
      copyDownNumber(4, 'alic/app'),
      copyDownNumber(1),
      copyDownNumber(5, 'alic/app'),
      copyDownNumber(2, 'alice/other'),
      copyDownNumber(3),
    ];
    expect(state.dueCopiesDown(NOW, '', 10)).toEqual(inTurn);
    expect(state.dueCopiesDown(NOW, '', 2)).toEqual(inTurn.slice(0, 2));
    state.setJob(copyDownJob(APP, digestNo(1)), waiting);
    expect(state.dueCopiesDown(NOW, '', 2)).toEqual([copyDownNumber(4, 'alic/app'), copyDownNumber(2, 'alice/other')]);
  },
  'copies down of organizations after a name come first, then those of the others': (state) => {
    const names = ['a-b', 'a', 'b', 'c'];
    for (const [i, name] of names.entries())
      for (const n of [0, 10]) state.addCopyDown(copyDownNumber(i + n, `${name}/app`));
    const organizations = (after: string, limit: number): string[] =>
      state.dueCopiesDown(NOW, after, limit).map(({ repository }) => repository.split('/')[0] ?? '');
    expect(organizations('', 5)).toEqual(['a', 'a-b', 'b', 'c', 'a']);
    expect(organizations('a', 8)).toEqual(['a-b', 'b', 'c', 'a', 'a-b', 'b', 'c', 'a']);
    expect(organizations('aa', 3)).toEqual(['b', 'c', 'a']);
    expect(organizations('c', 2)).toEqual(['a', 'a-b']);
  },
  'an organization with few copies down leaves its turns to the others': (state) => {
    for (const i of [1, 2, 3, 4, 5, 6]) state.addCopyDown(copyDownNumber(i, 'b/app'));
    state.addCopyDown(copyDownNumber(7, 'a/app'));
    state.addCopyDown(copyDownNumber(8, 'c/app'));
    const numbers = (limit: number): number[] =>
      state.dueCopiesDown(NOW, '', limit).map(({ digest }) => Number.parseInt(digest.slice(-1), 16));
    expect(numbers(4)).toEqual([7, 1, 8, 2]);
    expect(numbers(7)).toEqual([7, 1, 8, 2, 3, 4, 5]);
    expect(numbers(20)).toEqual([7, 1, 8, 2, 3, 4, 5, 6]);
  },
  'a failed copy down is due when its job is': (state) => {
    for (const i of [1, 2, 3, 4]) state.addCopyDown(copyDownNumber(i));
    state.setJob(copyDownJob(APP, digestNo(1)), waiting);
    state.setJob(copyDownJob(APP, digestNo(2)), parked);
    state.setJob(copyDownJob(APP, digestNo(3)), due());
    expect(state.dueCopiesDown(NOW, '', 10)).toEqual([3, 4].map((i) => copyDownNumber(i)));
    expect(state.dueCopiesDown(NOW + 1, '', 10)).toEqual([1, 3, 4].map((i) => copyDownNumber(i)));
  },
  'copies down are counted, in total or for an image': (state) => {
    for (const i of [1, 2]) state.addCopyDown(copyDownNumber(i));
    state.addCopyDown(copyDownNumber(3, 'alice/other'));
    expect(state.copyDownCount()).toBe(3);
    expect(state.copiesDownLeft(APP, [digestNo(1), digestNo(3), digestNo(4)])).toBe(1);
    expect(state.copiesDownLeft(APP, [])).toBe(0);
  },
  'progress keeps its last value until it is forgotten': (state, again) => {
    const parts = [{ partNumber: 1, etag: 'x' }];
    expect(state.progress('up a')).toBeUndefined();
    state.setProgress('up a', { key: 'k', uploadId: 'u', parts: [] });
    state.setProgress('up a', { key: 'k', uploadId: 'u', parts, namedAt: 7 });
    state.setProgress('up b', { key: 'l', parts: [] });
    expect(again().progress('up a')).toEqual({ key: 'k', uploadId: 'u', parts, namedAt: 7 });
    expect(state.progress('up b')).toEqual({ key: 'l', parts: [] });
    state.forgetProgress('up a');
    expect([state.progress('up a'), state.progress('up b')]).toEqual([undefined, { key: 'l', parts: [] }]);
    state.forgetProgress('up b');
    expect(state.progress('up b')).toBeUndefined();
  },
  'a queue can be paused and resumed': (state, again) => {
    expect(state.paused()).toBe(false);
    state.setPaused(true);
    expect(again().paused()).toBe(true);
    state.setPaused(false);
    expect(again().paused()).toBe(false);
  },
  'counters add up, one at a time or more': (state, again) => {
    state.count('settled');
    state.count('settled');
    state.count('copied_up_bytes', 2 ** 40);
    state.saveFigures();
    expect((['settled', 'copied_up_bytes', 'retries'] as const).map((name) => again().counter(name))).toEqual([
      2,
      2 ** 40,
      0,
    ]);
  },
  'a histogram counts a value in every bucket whose limit is not below it': (state, again) => {
    const empty = { buckets: BUCKETS.map(() => 0), count: 0, sum: 0 };
    expect(state.histogram('announce_seconds')).toEqual(empty);
    for (const seconds of [0, 0.25, 0.5, 2000]) state.observe('announce_seconds', seconds);
    expect(state.histogram('announce_seconds')).toEqual({
      buckets: BUCKETS.map((limit) => (limit < 0.25 ? 1 : limit < 0.5 ? 2 : 3)),
      count: 4,
      sum: 2000.75,
    });
    state.saveFigures();
    expect(again().histogram('announce_seconds')).toEqual(state.histogram('announce_seconds'));
    expect(state.histogram('settle_seconds')).toEqual(empty);
  },
};

describe.each(Object.entries(RULES))('%s', (_name, rule) => {
  afterEach(stopQueues);

  test('in memory', () => {
    const state = new MemoryQueueState();
    rule(state, () => state);
  });

  test('in the storage of the Durable Object', async () => {
    await runInDurableObject(queueOf(env, config, 'node1'), (_queue: ReplicationQueue, { storage: { sql } }) => {
      rule(new SqlQueueState(sql), () => new SqlQueueState(sql));
    });
  });
});

describe('in the storage of the Durable Object', () => {
  afterEach(stopQueues);

  test('all figures of a run are one row, and a copy in one piece has none', async () => {
    await runInDurableObject(queueOf(env, config, 'node1'), (_queue: ReplicationQueue, { storage: { sql } }) => {
      const writes = { rows: 0 };
      const state = new SqlQueueState(counting(sql, writes));
      writes.rows = 0;
      for (let i = 0; i < 3; i++) {
        state.setProgress(`up ${i}`, { key: 'k', parts: [] });
        state.setProgress(`up ${i}`, { key: 'k', parts: [], namedAt: 7 });
        state.forgetProgress(`up ${i}`);
        state.forgetJob(copyUpJob(digestNo(i)));
        state.count('settled');
        state.count('copied_up_bytes', 0);
        state.observe('settle_seconds', 1);
      }
      state.saveFigures();
      state.saveFigures();
      expect(writes.rows).toBe(1);
    });
  });

  test('an hour that is over becomes one row, which the hour 90 days later replaces', async () => {
    await runInDurableObject(queueOf(env, config, 'node1'), (_queue: ReplicationQueue, { storage: { sql } }) => {
      const writes = { rows: 0 };
      const start = 500_000 * HOUR;
      let now = start;
      const open = (): SqlQueueState => new SqlQueueState(counting(sql, writes), () => now);
      let state = open();
      const hours = (count: number): (readonly [hour: number, settled: number | undefined])[] =>
        state.hours(count).map(({ at, counters }) => [(at - start) / HOUR, counters.settled]);
      expect(state.lacksHeld).toBe(false);
      state.count('settled', 2);
      state.observe('settle_seconds', 3);
      expect(state.lacksHeld).toBe(true);
      state.noteHeld(7);
      expect(open().lacksHeld).toBe(false);
      now += 2 * HOUR;
      // The Durable Object loses its memory in between.
      state = open();
      state.count('settled', 3);
      writes.rows = 0;
      state.saveFigures();
      expect(writes.rows).toBe(2);
      expect(hours(24)).toEqual([
        [0, 2],
        [2, 3],
      ]);
      expect(hours(2)).toEqual([[2, 3]]);
      expect(state.hours(24)[0]).toMatchObject({ held: 7, histograms: { settle_seconds: { count: 1, sum: 3 } } });
      expect(state.hours(24)[1]).toMatchObject({ held: null, histograms: { settle_seconds: { count: 0, sum: 0 } } });
      now += (HOURS_KEPT - 2) * HOUR;
      expect(hours(HOURS_KEPT)).toEqual([[2, 3]]);
      state.count('settled', 4);
      now += HOUR;
      expect(hours(HOURS_KEPT)).toEqual([
        [2, 3],
        [HOURS_KEPT, 4],
      ]);
      expect(sql.exec('SELECT count(*) AS rows FROM hours').one()).toEqual({ rows: 2 });
    });
  });

  test('a clock that is set back across the start of an hour loses no figures', async () => {
    await runInDurableObject(queueOf(env, config, 'node1'), (_queue: ReplicationQueue, { storage: { sql } }) => {
      let now = 500_000 * HOUR - 1;
      const state = new SqlQueueState(sql, () => now);
      const settled = (): number => state.hours(24).reduce((sum, { counters }) => sum + (counters.settled ?? 0), 0);
      for (const step of [1, -1, 2, -3, HOUR]) {
        state.count('settled');
        state.saveFigures();
        now += step;
      }
      expect(settled()).toBe(5);
    });
  });
});

/** Counts the rows that statements write. */
function counting(sql: SqlStorage, writes: { rows: number }): SqlStorage {
  return new Proxy(sql, {
    get: (target, name) =>
      name === 'exec'
        ? (...args: Parameters<SqlStorage['exec']>) => {
            const cursor = target.exec(...args);
            const rows = cursor.toArray();
            writes.rows += cursor.rowsWritten;
            return { toArray: () => rows, one: () => rows[0] };
          }
        : undefined,
  });
}
