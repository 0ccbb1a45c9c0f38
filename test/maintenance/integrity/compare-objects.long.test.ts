/** Comparing very many objects and rows, in slices. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { bytesOf, pushBlob } from '../../support/fixture.ts';
import type { Hosts } from '../../support/hosts.ts';
import {
  at,
  BUCKETS,
  compare,
  contextOf,
  counterAt,
  DATABASES,
  DAY,
  errorLines,
  leak,
  locationAt,
  lose,
  openHostsNow,
  ORPHAN_DAYS,
  orphansAt,
} from '../../support/objects.ts';
import { compareObjects } from '../../support/maintenance.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHostsNow();
});

afterEach(() => void vi.restoreAllMocks());

describe('a comparison', () => {
  test('of several pages of objects, in slices, finds each orphan once', async () => {
    const names = Array.from({ length: 2100 }, (_, i) => String(i).padStart(5, '0'));
    for (let i = 0; i < names.length; i += 100) await Promise.all(names.slice(i, i + 100).map((name) => leak(name)));
    const blobs: Digest[] = [];
    for (let i = 0; i < 5; i++) blobs.push(await pushBlob(at(hosts.central), bytesOf(i + 1, 100)));
    await lose('central', blobs[0]!);
    hosts.now += DAY;
    // Here, each slice is one page of the listing.
    let slices = 0;
    while (slices++ < 10) {
      let asked = 0;
      const context = contextOf(hosts, env, { mayGoOn: () => asked++ === 0 });
      await compareObjects(context, context.central, ORPHAN_DAYS * DAY);
      const task = await DATABASES.central
        .prepare("SELECT position, slices FROM maintenance_tasks WHERE task = 'comparison'")
        .first<{ position: string; slices: number }>();
      if (task?.position === '') break;
    }
    expect(slices).toBe(3);
    expect(await orphansAt('central')).toHaveLength(2100);
    expect(await locationAt('central', blobs[0]!)).toMatchObject({ damage: 'missing' });
    for (const blob of blobs.slice(1)) expect(await locationAt('central', blob)).toMatchObject({ damage: null });
    hosts.now += (ORPHAN_DAYS + 1) * DAY;
    await compare(hosts);
    expect((await BUCKETS.central.list()).objects.map(({ key }) => key)).toHaveLength(4);
    expect(await counterAt('central', 'orphans_deleted')).toBe(2100);
  });

  test('of several pages of rows, in slices, finds the row of an object on any page', async () => {
    const blobs = [
      await pushBlob(at(hosts.central), bytesOf(1, 100)),
      await pushBlob(at(hosts.central), bytesOf(2, 100)),
    ];
    const lost = await pushBlob(at(hosts.central), bytesOf(3, 100));
    await lose('central', lost);
    const orphan = await leak('orphan');
    await DATABASES.central
      .prepare(
        `INSERT INTO locations (digest, store, key, size, created_at, lease_until, damage)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 65000)
         SELECT 'sha256:' || printf('%064x', i * 67554994), 'central', 'blobs/' || i, 1, 0, 0, 'missing' FROM n`,
      )
      .run();
    errorLines();
    hosts.now += DAY;
    // Here, each slice walks one full page of rows.
    const steps: unknown[] = [];
    for (;;) {
      let asked = 0;
      const context = contextOf(hosts, env, { mayGoOn: () => asked++ === 0 });
      await compareObjects(context, context.central, ORPHAN_DAYS * DAY);
      const position = await DATABASES.central
        .prepare("SELECT position FROM maintenance_tasks WHERE task = 'comparison'")
        .first<string>('position');
      if (position === '' || position === null) break;
      // The position does not grow with the rows that have no object.
      expect(position.length).toBeLessThan(1000);
      steps.push((JSON.parse(position) as { walk?: { step: number } }).walk?.step);
    }
    expect(steps).toEqual([3, 3, 3]);
    expect(await orphansAt('central')).toEqual([orphan]);
    expect(await locationAt('central', lost)).toMatchObject({ damage: 'missing' });
    for (const blob of blobs) expect(await locationAt('central', blob)).toMatchObject({ damage: null });
  });

  test('of very many lost objects looks up a thousand in each slice, and the round ends', async () => {
    // They lie on three pages of rows, none of which has a thousand.
    await DATABASES.central
      .prepare(
        `INSERT INTO locations (digest, store, key, size, created_at, lease_until, damage)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 45000)
         SELECT 'sha256:' || printf('%064d', i), 'central', 'blobs/' || i, 1, 0, 0, iif(i % 30 = 0, NULL, 'missing')
         FROM n`,
      )
      .run();
    await leak('00000');
    await leak('99999');
    errorLines();
    hosts.now += DAY;
    const lookUps: number[] = [];
    const context = contextOf(hosts, env, {
      pause: async () => void lookUps.push(exists.mock.calls.splice(0).length),
    });
    const exists = vi.spyOn(context.central.bucket, 'exists');
    await compareObjects(context, context.central, ORPHAN_DAYS * DAY);
    expect([...lookUps, exists.mock.calls.length]).toEqual([1000, 500]);
    expect(await counterAt('central', 'damaged_found')).toBe(1500);
    expect(await orphansAt('central')).toEqual(['blobs/00000', 'blobs/99999']);
  });
});
