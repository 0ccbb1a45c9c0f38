/** A node with a limit counts its bytes once, in slices, while locations come and go. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import {
  countStoredBytes,
  stopCountingStoredBytes,
  storedBytes,
} from '../../../src/maintenance/eviction/stored-bytes-rows.ts';
import { Database } from '../../../src/stores/database.ts';
import { rowsAt } from '../../support/collecting.ts';
import { Random } from '../../support/random.ts';

const NODE1 = { name: 'node1', database: new Database(env.DB_NODE1!) };
const digestNo = (i: number): string => `sha256:${i.toString(16).padStart(64, '0')}`;

async function add(numbers: readonly number[]): Promise<void> {
  const rows = numbers.map((i) => ({ digest: digestNo(i), size: i + 1 }));
  await env
    .DB_NODE1!.prepare(
      `INSERT INTO locations (digest, store, key, size, created_at, lease_until)
       SELECT r.value ->> 'digest', 'node1', 'key', r.value ->> 'size', 0, 0 FROM json_each(?1) AS r WHERE true
       ON CONFLICT DO NOTHING`,
    )
    .bind(JSON.stringify(rows))
    .run();
}

async function remove(numbers: readonly number[]): Promise<void> {
  await env
    .DB_NODE1!.prepare('DELETE FROM locations WHERE digest IN (SELECT value FROM json_each(?1))')
    .bind(JSON.stringify(numbers.map(digestNo)))
    .run();
}

async function sum(): Promise<number> {
  const [row] = await rowsAt<{ bytes: number | null }>('node1', 'SELECT sum(size) AS bytes FROM locations');
  return row?.bytes ?? 0;
}

test('the count is right after its last slice, whatever was added and removed between two slices', async () => {
  const random = new Random(7);
  await add(Array.from({ length: 12_000 }, (_, i) => 2 * i));
  const some = (): number[] => Array.from({ length: 500 }, () => random.between(0, 24_000));
  let slices = 1;
  for (; !(await countStoredBytes(NODE1)); slices++) {
    await add(some());
    await remove(some());
    // Two runs of maintenance may count at once. A slice takes effect only if it continues from the point that the
    // count has reached.
    if (slices === 1) await Promise.all([countStoredBytes(NODE1), countStoredBytes(NODE1)]);
  }
  expect(slices).toBeGreaterThan(1);
  expect(await storedBytes(NODE1)).toBe(await sum());
  await add(some());
  await remove(some());
  expect(await storedBytes(NODE1)).toBe(await sum());
  expect(await countStoredBytes(NODE1)).toBe(true);
});

test('a store that does not count writes no row for the count', async () => {
  const added = async (i: number): Promise<number> => {
    const row = env.DB_NODE1!.prepare("INSERT INTO locations VALUES (?1, 'node1', 'key', 1, 0, 0, NULL, NULL, NULL)");
    return (await row.bind(digestNo(i)).run()).meta.rows_written;
  };
  expect(await added(1)).toBe(1);
  expect(await countStoredBytes(NODE1)).toBe(true);
  expect(await added(2)).toBe(2);
  expect(await storedBytes(NODE1)).toBe(2);
  await stopCountingStoredBytes(NODE1);
  expect(await added(3)).toBe(1);
});
