/** Deleting objects after their rows: each is counted once, and a bucket that refuses is reported. */
import { beforeEach, expect, test } from 'vitest';
import { deleteObjects } from '../../support/maintenance.ts';
import { contextOf, objectsAt, rowsAt, stoppedAt } from '../../support/collecting.ts';
import { bytesOf } from '../../support/fixture.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';
import { BUCKETS } from '../../support/objects.ts';

let hosts: Hosts;

const run = (): Promise<void> => deleteObjects(contextOf(hosts), hosts.central.store);

function counters(): Promise<object[]> {
  return rowsAt('central', 'SELECT name, value FROM maintenance_counters ORDER BY name');
}

beforeEach(async () => {
  hosts = await openHosts();
  for (const key of ['blobs/a', 'blobs/b']) {
    await BUCKETS.central.put(key, bytesOf(1, 100));
    await rowsAt('central', 'INSERT INTO delete_queue (delete_after, key, size) VALUES (?1, ?2, 100)', hosts.now, key);
  }
});

test('two runs at once count each object once', async () => {
  let waiting = 0;
  const both = Promise.withResolvers<void>();
  hosts.central.gate = async (call, work) => {
    if (call === 'delete' && ++waiting === 2) both.resolve();
    if (call === 'delete') await both.promise;
    return work();
  };
  await Promise.all([run(), run()]);
  expect(await objectsAt('central')).toEqual([]);
  expect(await counters()).toEqual([
    { name: 'collected_bytes', value: 200 },
    { name: 'collected_objects', value: 2 },
  ]);
});

test('the task reports a bucket that does not answer until it answers again', async () => {
  const { gate } = hosts.central;
  hosts.central.gate = async (call, work) => {
    if (call === 'delete') throw new Error('internal error: please try again (10001)');
    return work();
  };
  await expect(run()).rejects.toThrow('10001');
  expect(await stoppedAt('central', 'delete_queue')).toBe(
    'the bucket of central does not answer: Error: internal error: please try again (10001)',
  );
  expect(await counters()).toEqual([]);
  hosts.central.gate = gate;
  await run();
  expect(await stoppedAt('central', 'delete_queue')).toBeNull();
  expect(await objectsAt('central')).toEqual([]);
});
