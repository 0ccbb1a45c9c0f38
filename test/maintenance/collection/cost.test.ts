/** The cost of collection: rows read for each blob, and slices that do not grow with the store. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { contextOf, rowsAt } from '../../support/collecting.ts';
import { resetCounts } from '../../support/counting.ts';
import { GRACE } from '../../support/fixture.ts';
import { openHosts } from '../../support/hosts.ts';
import { collectCentral } from '../../support/maintenance.ts';

/** Adds images of ten layers to central, and as many unreferenced blobs. */
async function fill(images: number): Promise<void> {
  const hex = (i: string): string => `'sha256:' || printf('%064x', ${i})`;
  const numbers = `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${images * 10} - 1)`;
  const garbage = `WITH RECURSIVE n (i) AS (SELECT 1100000 UNION ALL SELECT i + 1 FROM n
    WHERE i < 1100000 + ${images} - 1)`;
  const manifest = `'sha256:' || printf('f%063x', i / 10)`;
  const repository = `'a/r' || (i / 10 % 100)`;
  const layer = hex('i * 7919 % 1000003');
  const statements = [
    `${numbers} INSERT INTO locations (digest, store, key, size, created_at, lease_until)
     SELECT ${layer}, 'central', 'blobs/' || i, 10, 0, 0 FROM n`,
    `${numbers} INSERT INTO links (repository, digest, created_at) SELECT ${repository}, ${layer}, 0 FROM n`,
    `${numbers} INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size,
       created_version, deleted_version, last_pull, descriptors)
     SELECT ${repository}, ${manifest}, 'm', '', NULL, 1, 1000, 0, 0,
       json_group_array(json_object('kind', 'layer', 'digest', ${layer}, 'size', 10)) FROM n GROUP BY 1, 2`,
    `${garbage} INSERT INTO locations (digest, store, key, size, created_at, lease_until)
     SELECT ${hex('i')}, 'central', 'blobs/g' || i, 10, 0, 0 FROM n`,
    `${garbage} INSERT INTO links (repository, digest, created_at) SELECT 'a/r0', ${hex('i')}, 0 FROM n`,
  ];
  for (const statement of statements) await env.DB_CENTRAL.prepare(statement).run();
}

test('a round over a store, a tenth of which is garbage, reads at most 12 rows a blob', async () => {
  const hosts = await openHosts();
  hosts.now += 3 * GRACE;
  await fill(500);
  const { counts } = hosts.central;
  resetCounts(counts);
  await collectCentral(contextOf(hosts));
  expect(await rowsAt('central', 'SELECT count(*) AS left FROM locations')).toEqual([{ left: 5000 }]);
  const slices = await rowsAt<{ slices: number }>(
    'central',
    "SELECT slices FROM maintenance_tasks WHERE task = 'collect'",
  );
  console.log(
    JSON.stringify({ rowsReadABlob: counts.rowsRead / 5500, rowsWrittenAGarbageBlob: counts.rowsWritten / 500 }),
  );
  expect(counts.rowsRead / 5500).toBeLessThanOrEqual(12);
  expect(slices[0]?.slices).toBe(12);

  // In a store whose leases still run, a round only looks.
  await env.DB_CENTRAL.prepare('UPDATE locations SET lease_until = ?1')
    .bind(hosts.now + GRACE)
    .run();
  hosts.now += GRACE / 2;
  resetCounts(counts);
  await collectCentral(contextOf(hosts));
  console.log(JSON.stringify({ rowsReadABlobUnderLease: counts.rowsRead / 5000 }));
  expect(counts.rowsRead / 5000).toBeLessThanOrEqual(4);
});

test('a task pauses after each slice but the last, and the pause is told how long the slice took', async () => {
  const hosts = await openHosts();
  hosts.now += 3 * GRACE;
  await fill(150);
  const worked: number[] = [];
  const { now } = hosts;
  let asked = 0;
  // The clock advances by a second on each call, and a slice calls it more than once.
  await collectCentral(
    contextOf(hosts, {
      now: () => now + 1000 * asked++,
      pause: (milliseconds) => Promise.resolve(worked.push(milliseconds)),
    }),
  );
  const [task] = await rowsAt<{ slices: number }>(
    'central',
    "SELECT slices FROM maintenance_tasks WHERE task = 'collect'",
  );
  expect(worked).toHaveLength((task?.slices ?? 0) - 1);
  for (const milliseconds of worked) expect(milliseconds).toBeGreaterThanOrEqual(1000);
});

test('a run without time left stops after a slice, and the next run goes on there', async () => {
  const hosts = await openHosts();
  hosts.now += 3 * GRACE;
  await fill(150);
  const slicesOf = async (slices: number): Promise<void> => {
    let asked = 0;
    await collectCentral(contextOf(hosts, { mayGoOn: () => asked++ < slices }));
  };
  const left = async (): Promise<number> =>
    (await rowsAt<{ left: number }>('central', 'SELECT count(*) AS left FROM locations'))[0]?.left ?? 0;
  await slicesOf(1);
  expect(await rowsAt('central', 'SELECT position, slices FROM maintenance_tasks')).toMatchObject([{ slices: 1 }]);
  expect(await left()).toBe(1650);
  for (let run = 0; run < 4; run++) await slicesOf(1);
  expect(await left()).toBe(1500);
});
