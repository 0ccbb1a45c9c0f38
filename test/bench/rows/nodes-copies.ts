/** The work of replication: bytes compared with raw copies, a backlog of tags, and the cost of an image. */
import { basic, type Blob, imageOf, indexOf, randomBlob } from '../client.ts';
import { layers } from '../content.ts';
import { call } from '../http.ts';
import { inMebibytes, peakOf } from '../memory.ts';
import { timed, until } from '../measure.ts';
import { inDollars, priceOf } from '../prices.ts';
import { compare, outcome, type Row } from '../row.ts';
import type { Berth, CountedBerth, Surroundings } from '../surroundings.ts';
import { imageBlobs, pushAsPriced } from './images.ts';

const MIB = 1024 * 1024;
const BLOBS = 10;
const SLOW = { seed: 1, d1: [0, 0], r2: [50, 50], bandwidth: [1e12, 1e12] } as const;
/** The price of a million pushes that are announced and settled, in dollars. */
const MOST_DOLLARS = 125;
/** The rows that such a push writes in D1, at the node and at central. */
const D1_ROWS = 87;
/** The alarm, and the figures of its run. */
const QUEUE_ROWS = 2;
const TAGS = 10_000;
/** A manifest takes a thousand tags. */
const TAGS_PER_IMAGE = 500;
const REPEATED = 1000;
const CONNECTIONS = 8;
const BACKLOG_LIMIT = 16 * MIB;

async function setPaused({ central }: Berth, paused: boolean): Promise<void> {
  const options = {
    path: '/api/replication/queues/node1',
    headers: { ...basic('admin'), 'Content-Type': 'application/json' },
  };
  await call(200, { ...options, port: central.port, method: 'PATCH', body: Buffer.from(JSON.stringify({ paused })) });
}

async function announcedCount({ central }: Berth): Promise<number> {
  const { body } = await call(200, {
    port: central.port,
    method: 'GET',
    path: '/metrics',
    headers: basic('admin'),
    keep: true,
  });
  const [, count] = /^berth_announced_total\{[^}]*"node1"[^}]*\} (\d+)/m.exec(body.toString()) ?? [];
  if (count === undefined) throw new Error('the metrics lack berth_announced_total of node1');
  return Number(count);
}

/**
 * Pushes blobs to a node and to the floor, and returns a way to make central forget its copies and copy them again.
 */
async function settling(surroundings: Surroundings, count: number, blobBytes: number) {
  const [berth, floor] = [await surroundings.counted(), await surroundings.floor()];
  const { control, scheduled } = berth;
  const { node1 } = berth.clients('alice/settled');
  await node1.logIn();
  const fresh = layers(blobBytes);
  const blobs: { digest: string; hex: string; size: number }[] = [];
  for (let i = 0; i < count; i++) {
    const { bytes: body, digest, hex } = fresh();
    await node1.pushByPut(body, digest);
    await call(201, { port: floor.port, method: 'PUT', path: `/put?key=${hex}`, body });
    blobs.push({ digest, hex, size: blobBytes });
  }
  const config = randomBlob(300);
  await node1.pushByPut(config.bytes, config.digest);
  await node1.pushManifest(imageOf(config, blobs), 'settled');
  await control.settled();
  const digests = blobs.map(({ digest }) => `'${digest}'`).join(', ');
  return {
    control,
    settle: async (): Promise<number> => {
      await control.quiet();
      await control.sql(
        'central',
        `UPDATE locations SET copy_up_for = 'alice', created_at = ${Date.now()}
         WHERE store = 'node1' AND digest IN (${digests})`,
        `DELETE FROM locations WHERE store = 'central' AND digest IN (${digests})`,
      );
      return timed(async () => {
        await scheduled();
        await control.settled(50);
      });
    },
    copy: () =>
      timed(async () => {
        for (const { hex } of blobs) {
          await call(201, { port: floor.port, method: 'POST', path: `/copy?key=${hex}&sha256=${hex}` });
        }
      }),
    copyInParts: (milliseconds: number) =>
      timed(async () => {
        for (const { hex } of blobs) {
          const path = `/copy-parts?key=${hex}&milliseconds=${milliseconds}`;
          await call(201, { port: floor.port, method: 'POST', path });
        }
      }),
  };
}

/** Pushes tags while central is unreachable. Returns how many outbox entries must be announced. */
async function pushBacklog(berth: CountedBerth, config: Blob, tags: number, repeated: number): Promise<number> {
  const { node1 } = berth.clients('alice/backlog');
  const images = Array.from({ length: Math.ceil(tags / TAGS_PER_IMAGE) }, () => imageOf(config));
  const imageFor = (number: number) => images[number % images.length] ?? imageOf(config);
  const pair = [imageFor(0), imageOf(config)] as const;
  await node1.logIn();
  let left = tags;
  const lane = async (): Promise<void> => {
    for (let number = left--; number > 0; number = left--) {
      await node1.logIn();
      await node1.pushManifest(imageFor(number), `t${number}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, lane));
  for (let i = 0; i < repeated; i++) {
    await node1.logIn();
    await node1.pushManifest(pair[i % 2 === 0 ? 0 : 1], 'repeated');
  }
  // The entry of a manifest stands for its first tag. The repeated tag and its second manifest come on top.
  return tags + 2;
}

export const nodesCopies: readonly Row[] = [
  {
    name: 'nodes: 500 MiB in ten blobs settled at central, against raw copies one after the other',
    mustReach: '≥ 0.8 ×',
    boundBy: 'R2 to R2 with its digest check, two at once; two look-ups and one transaction for each blob',
    run: async (surroundings) => {
      const blobBytes = surroundings.tiny ? 100_000 : 50 * MIB;
      const { settle, copy } = await settling(surroundings, BLOBS, blobBytes);
      const rate = (milliseconds: number): number => (BLOBS * blobBytes) / MIB / (milliseconds / 1000);
      return compare({
        limit: 0.8,
        unit: 'MiB/s',
        ours: async () => rate(await settle()),
        theirs: async () => rate(await copy()),
      });
    },
  },
  {
    name: 'nodes: 500 MiB in one blob settled at central, with 50 ms more for each call to R2',
    mustReach: '≤ 1.3 ×; each byte read once and written once',
    boundBy: 'one read, and 63 parts, of which three are under way at once, as in the floor',
    run: async (surroundings) => {
      const bytes = surroundings.tiny ? 80 * MIB : 500 * MIB;
      const { control, settle, copyInParts } = await settling(surroundings, 1, bytes);
      const parts = Math.ceil(bytes / (8 * MIB));
      const counts: { readonly classA: number; readonly classB: number }[] = [];
      await control.profile(SLOW);
      try {
        const compared = await compare({
          limit: 1.3,
          unit: 'ms',
          rounds: 3,
          ours: async () => {
            await control.resetCounts();
            const milliseconds = await settle();
            counts.push(await control.counts({ scope: 'alarm' }));
            return milliseconds;
          },
          theirs: () => copyInParts(SLOW.r2[0]),
        });
        const wrong = counts.filter(({ classA, classB }) => classA !== parts + 2 || classB !== 1);
        const misses = wrong.map(({ classA, classB }) => `${classA} A, ${classB} B, not ${parts + 2} A, 1 B`);
        return {
          ...compared,
          ...outcome(compared.measured, misses, compared.details, { ...compared.figures, counts }),
          reached: compared.reached && misses.length === 0,
        };
      } finally {
        await control.profile(undefined);
      }
    },
  },
  {
    name: 'nodes: price of a push like docker’s, announced and settled (config, two layers, a new tag)',
    mustReach: `≤ ${inDollars(MOST_DOLLARS)} a million; ${D1_ROWS} rows of D1 and ${QUEUE_ROWS} of the queue written`,
    boundBy: 'D1 rows written at the node and at central, then an R2 write for each blob at both',
    run: async (surroundings) => {
      const { control, clients } = await surroundings.counted();
      const { node1 } = clients('alice/priced-at-a-node');
      await node1.logIn();
      await pushAsPriced(node1, imageBlobs(), 'first');
      await control.settled();
      const operations = await control.countsOf(async () => {
        await pushAsPriced(node1, imageBlobs(), 'priced');
        await control.settled();
      });
      const { dollars, parts } = priceOf(operations);
      const rows = operations.objectRowsWritten;
      return outcome(
        `a million: ${inDollars(dollars)}`,
        [
          ...(dollars <= MOST_DOLLARS ? [] : [`more than ${inDollars(MOST_DOLLARS)}`]),
          ...(operations.rowsWritten === D1_ROWS ? [] : [`it writes ${operations.rowsWritten} rows of D1`]),
          ...(rows === QUEUE_ROWS ? [] : [`the queue writes ${rows} rows`]),
        ],
        parts,
        { operations, dollarsPerMillion: dollars },
      );
    },
  },
  {
    name: `nodes: ${TAGS.toLocaleString('en')} tags pushed while central is away, and one ${REPEATED.toLocaleString('en')} times`,
    mustReach: `each announced once, isolate + ${inMebibytes(BACKLOG_LIMIT)} at most`,
    boundBy: 'pages of 100 outbox entries, each announced in one transaction',
    run: async (surroundings) => {
      const berth = await surroundings.startCountedObserved();
      const { control, inspector } = berth;
      try {
        const { node1 } = berth.clients('alice/backlog');
        await node1.logIn();
        const config = randomBlob(300);
        await node1.pushByPut(config.bytes, config.digest);
        await node1.pushManifest(imageOf(config), 'first');
        await control.settled();
        await control.quiet();
        const announcedBefore = await announcedCount(berth);
        await control.link('central', 0, 'away');
        const [tags, repeated] = surroundings.tiny ? [300, 20] : [TAGS, REPEATED];
        const expected = await pushBacklog(berth, config, tags, repeated);
        const before = await inspector.memory();
        let seconds = 0;
        const peak = await peakOf(
          () => inspector.memory(),
          async () => {
            await control.link('central', 0);
            await berth.scheduled();
            seconds =
              (await timed(() => until('all is announced', () => control.announced(), { seconds: 300, every: 100 }))) /
              1000;
          },
        );
        await control.quiet();
        const announced = (await announcedCount(berth)) - announcedBefore;
        const [atCentral] = await control.sql<{ tags: number; repeated: number }>(
          'central',
          `SELECT count(*) AS tags, (SELECT count(*) FROM tag_history WHERE name = 'repeated') AS repeated
           FROM tags WHERE repository = 'alice/backlog' AND visible = 1`,
        );
        const missing = tags + 2 - (atCentral?.tags ?? 0);
        return outcome(
          `${announced} announced, isolate ${inMebibytes(peak - before, true)}`,
          [
            ...(missing === 0 ? [] : [`${missing} tags are missing at central`]),
            ...(announced === expected ? [] : [`${announced} announced, not ${expected}`]),
            ...(peak - before <= BACKLOG_LIMIT ? [] : ['memory is not flat']),
          ],
          `${expected} things to announce, in ${seconds.toFixed(1)} s; isolate ${inMebibytes(before)} before, ${inMebibytes(peak)} at most`,
          { announced, expected, seconds, before, peak, atCentral },
        );
      } finally {
        await berth.stop();
      }
    },
  },
  {
    name: 'nodes: operations of a replicated image (config, two layers, manifest, index)',
    mustReach: 'announced in one D1 round trip to central',
    boundBy: 'D1 rows written, at the node and once more at central',
    run: async (surroundings) => {
      const berth = await surroundings.counted();
      const { control } = berth;
      const { node1 } = berth.clients('alice/replicated');
      await node1.logIn();
      const blobs = [randomBlob(300), randomBlob(100_000), randomBlob(200_000)];
      const [config, ...imageLayers] = blobs;
      if (config === undefined) throw new Error('the image has a config');
      const image = imageOf(config, imageLayers);
      const index = indexOf([image]);
      await control.settled();
      await setPaused(berth, true);
      const push = await control.countsOf(async () => {
        for (const { bytes, digest } of blobs) await node1.pushByPatch(bytes, digest, true);
        await node1.pushManifest(image);
        await node1.pushManifest(index, 'replicated');
      });
      await control.quiet();
      await control.resetCounts();
      await setPaused(berth, false);
      await control.settled();
      await control.quiet();
      const announce = await control.counts({ scope: 'wake', store: 'central' });
      const queue = [await control.counts({ scope: 'wake' }), await control.counts({ scope: 'alarm' })] as const;
      const prices = { push: priceOf(push), announce: priceOf(queue[0]), settle: priceOf(queue[1]) };
      const total = Object.values(prices).reduce((sum, { dollars }) => sum + dollars, 0);
      return outcome(
        `${announce.roundTrips} D1 round trip, a million: ${inDollars(total)}`,
        announce.roundTrips === 1 ? [] : [`announced in ${announce.roundTrips} round trips to central`],
        Object.entries(prices)
          .map(([name, { dollars, parts }]) => `${name} ${inDollars(dollars)} (${parts})`)
          .join('; '),
        { push, announce: queue[0], announceAtCentral: announce, settle: queue[1], prices },
      );
    },
  },
];
