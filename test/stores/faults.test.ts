/**
 * Clients push, pull, list and delete at random while calls to D1 and R2 fail before or after they are applied, come
 * late, never answer, or break off. `npm run test:faults -- --runs 1 --seed <n>` runs only one seed.
 *
 * - While stores fail, a client sees 503 UNAVAILABLE with Retry-After, a body that breaks off, or a true answer.
 * - Once they have healed, every repeated request succeeds, and everything acknowledged is whole.
 * - An object may stay without a row only for one of the {@link LEAK_REASONS}: a fault between R2 and D1.
 */
import { env } from 'cloudflare:workers';
import { afterAll, beforeEach, expect, test, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { parseConfig } from '../../src/config.ts';
import { maintain } from '../../src/maintenance/schedule.ts';
import { addUsers } from '../support/client.ts';
import { lastPrinted } from '../support/console.ts';
import { FaultyClient, type LeakReason } from '../support/faulty-client.ts';
import { unreferencedObjects } from '../support/fixture.ts';
import { Random } from '../support/random.ts';
import type { Chance } from '../support/random-plans.ts';
import { postWhole } from '../support/registry-changes.ts';
import { contentOf, type Material, nextJob } from '../support/registry-jobs.ts';
import { differences, type Document } from '../support/registry-model.ts';
import { passDeadlinesOfStalledCalls } from '../support/stalled-calls.ts';

passDeadlinesOfStalledCalls();

declare global {
  namespace Cloudflare {
    interface Env {
      readonly FAULTS: Chance;
    }
  }
}

const JOBS = 3;
const REPOSITORY = 'alice/app';
const SIZES = { 0: 1, 300: 20, 5_000: 10, 200_000: 2 };
/** Used in one run of thirty. Half of the last size is larger than a part of a multipart upload. */
const LARGE_SIZES = { 300: 3, 12_000_000: 1 };
const SOURCE = 'alice/source';
const DAY = 86_400_000;

const app = createApp();
const config = parseConfig(env);
const { runs, seed: firstSeed } = env.FAULTS;
const seeds = Array.from({ length: runs }, (_, i) => firstSeed + i);
/** Objects that stayed without a row, by reason. The scrub must find them. */
const leaks: Partial<Record<LeakReason, number>> = {};
const outcomes = { requests: 0, faults: 0, stalls: 0, lostCommits: 0, unavailable: 0, broken: 0, afterHealing: 0 };

beforeEach(() => {
  // The pauses before a batch runs again.
  vi.spyOn(Math, 'random').mockReturnValue(0);
});

test.each(seeds)(
  'seed %i: clients see failures of the stores as such, and nothing acknowledged is lost',
  async (seed) => {
    const random = new Random(seed);
    await addUsers();
    const client = new FaultyClient(app, random, REPOSITORY, outcomes);
    const material: Material = {
      sizes: seed % 30 === 0 ? LARGE_SIZES : SIZES,
      shared: await Promise.all([200, 3000].map((size) => contentOf(random.bytes(size)))),
      source: SOURCE,
    };
    for (const blob of material.shared)
      expect(await client.send(postWhole(SOURCE, blob).request)).toMatchObject({ status: 201 });
    try {
      const { actor } = client;
      const images: Document[] = [];
      client.fail();
      for (let i = 0; i < JOBS; i++) {
        await (await nextJob(actor, material, images)).run();
        await actor.read();
      }

      // Sessions have expired, but leases have not. The second run repeats what failed in the first.
      const later = Date.now() + 1.5 * DAY;
      await maintain(config, client.env, later);
      client.heal();
      await maintain(config, client.env, later + 60_000);
      expect(await env.DB_CENTRAL.prepare('SELECT count(*) AS n FROM uploads').first('n')).toBe(0);
      actor.state.session = undefined;
      expect(await differences(client.send, actor.state)).toEqual([]);
      const left = await unreferencedObjects();
      expect(left.filter((key) => client.explanationOf(key) === undefined)).toEqual([]);
      for (const key of left) {
        const reason = client.explanationOf(key);
        if (reason !== undefined) leaks[reason] = (leaks[reason] ?? 0) + 1;
      }
    } catch (error) {
      const lines = lastPrinted(8).map((line) => line.slice(0, 700));
      throw new Error(
        `npm run test:faults -- --runs 1 --seed ${seed}\n${client.history(12)}\n${lines.join('\n')}\n${String(error)}`,
        { cause: error },
      );
    }
  },
);

afterAll(() => {
  vi.restoreAllMocks();
  console.log(JSON.stringify({ seeds: seeds.length, ...outcomes, leaks }));
});
