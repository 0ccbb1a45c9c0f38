/** The cost of collection and eviction, and how much they slow down pushes and pulls. */
import { imageOf, randomBlob } from '../client.ts';
import { layers } from '../content.ts';
import type { Control, Slices } from '../control.ts';
import { insert } from '../fill.ts';
import { median, quantile, timed } from '../measure.ts';
import { inMebibytes, peakOf } from '../memory.ts';
import { inDollars, type Operations, priceOf } from '../prices.ts';
import { outcome, type Row } from '../row.ts';
import type { CountedBerth, Observed } from '../surroundings.ts';

const MIB = 1024 * 1024;
const LAYERS = 10;
/** Every tenth manifest has been deleted. */
const GARBAGE = 10;
const ROWS_PER_BLOB = 12;
const FLAT = 16 * MIB;
/** The time that the cron trigger gives a run. */
const RUN_MILLISECONDS = 20_000;

/** Returns distinct numbers in an order that is not that of `i`. */
const scattered = (i: string): string => `(${i} * 7919 % 1000003)`;
const blobDigest = (i: string): string => `'sha256:' || printf('%063x0', ${scattered(i)})`;
const manifestDigest = (i: string): string => `'sha256:' || printf('f%063x', ${scattered(i)})`;

/**
 * Inserts images of several layers, with all rows of a push except their contents.
 * @param owners the stores that have the bytes; for central, a node may be among them
 */
async function insertImages(
  control: Control,
  store: 'central' | 'node1',
  images: number,
  layersOf: number,
  owners: readonly string[] = [store],
): Promise<void> {
  const repository = (image: string): string => `'bench/r' || (${image} % 100)`;
  const image = `i / ${layersOf}`;
  const descriptors = Array.from(
    { length: layersOf },
    (_, j) => `json_object('kind', 'layer', 'digest', ${blobDigest(`(i * ${layersOf} + ${j})`)}, 'size', 1000)`,
  );
  const blobs = images * layersOf;
  for (const owner of owners) {
    await insert(
      control,
      store,
      blobs,
      'locations (digest, store, key, size, created_at, lease_until)',
      `SELECT ${blobDigest('i')}, '${owner}', 'bench/' || i, 1000, 0, 0 FROM n`,
    );
  }
  await insert(
    control,
    store,
    images,
    `manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version,
      last_pull, evictable, descriptors)`,
    `SELECT ${repository('i')}, ${manifestDigest('i')}, 'application/vnd.oci.image.manifest.v1+json', '', NULL, 1000,
      1000 + i, 0, 0, ${store === 'central' ? 0 : 1}, json_array(${descriptors.join(', ')}) FROM n`,
  );
  await insert(
    control,
    store,
    blobs,
    'links (repository, digest, created_at)',
    `SELECT ${repository(image)}, ${blobDigest('i')}, 0 FROM n`,
  );
}

/** Deletes every tenth image, long enough ago to be collected. */
async function deleteSome(control: Control, images: number): Promise<void> {
  const digests = `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + ${GARBAGE} FROM n
    WHERE i + ${GARBAGE} < ${images})
    SELECT 'bench/r' || (i % 100), ${manifestDigest('i')} FROM n`;
  await control.sql(
    'central',
    `UPDATE manifests SET deleted_version = 10000000 WHERE (repository, digest) IN (${digests})`,
  );
}

/** Inserts blobs that were pushed, but that no manifest references. */
async function insertUnreferenced(control: Control, count: number): Promise<void> {
  const digest = `'sha256:' || printf('%063xf', ${scattered('i')})`;
  const location = `SELECT ${digest}, 'central', 'bench/unreferenced/' || i, 1000, 0, 0 FROM n`;
  await insert(control, 'central', count, 'locations (digest, store, key, size, created_at, lease_until)', location);
  await insert(
    control,
    'central',
    count,
    'links (repository, digest, created_at)',
    `SELECT 'bench/unreferenced', ${digest}, 0 FROM n`,
  );
}

/** Makes the task due, at the beginning of a round. */
async function restart(control: Control, store: string, task: string): Promise<void> {
  await control.sql(
    store,
    `UPDATE maintenance_tasks SET position = '', next_at = 0, round_ended_at = NULL WHERE task = '${task}'`,
  );
}

async function hasEnded(control: Control, store: string, task: string): Promise<boolean> {
  const [row] = await control.sql<{ ended: number | null; queued: number }>(
    store,
    `SELECT (SELECT round_ended_at FROM maintenance_tasks WHERE task = '${task}' AND position = '') AS ended,
       EXISTS (SELECT 1 FROM delete_queue WHERE delete_after <= ${Date.now()}) AS queued`,
  );
  return row?.ended !== null && row?.queued === 0;
}

interface Round {
  readonly operations: Operations;
  readonly most: Slices;
  readonly slices: number;
  readonly runs: number;
  readonly seconds: number;
  /** Bytes of the isolate before the round. */
  readonly before: number;
  readonly peak: number;
}

/** Runs a whole round, in as many runs as it takes. */
async function round(
  { control, inspector }: CountedBerth & Observed,
  store: string,
  task: string,
  limits?: { readonly bytes: number },
): Promise<Round> {
  const most = { roundTrips: 0, rowsRead: 0, rowsWritten: 0 };
  await restart(control, store, task);
  await control.resetCounts();
  const before = await inspector.memory();
  let [runs, milliseconds] = [0, 0];
  const peak = await peakOf(
    () => inspector.memory(),
    async () => {
      while (runs === 0 || !(await hasEnded(control, store, task))) {
        runs++;
        milliseconds += await timed(async () => {
          const { roundTrips, rowsRead, rowsWritten } = await control.slices(store, RUN_MILLISECONDS, limits);
          most.roundTrips = Math.max(most.roundTrips, roundTrips);
          most.rowsRead = Math.max(most.rowsRead, rowsRead);
          most.rowsWritten = Math.max(most.rowsWritten, rowsWritten);
        });
      }
    },
  );
  const [row] = await control.sql<{ slices: number }>(
    store,
    `SELECT slices FROM maintenance_tasks WHERE task = '${task}'`,
  );
  const operations = await control.counts({ scope: 'slices' });
  return { operations, most, slices: row?.slices ?? 0, runs, seconds: milliseconds / 1000, before, peak };
}

function detailsOf({ operations, most, slices, runs, seconds, before, peak }: Round): string {
  const { dollars, parts } = priceOf(operations, 1);
  return (
    `${slices} slices in ${runs} runs, ${seconds.toFixed(0)} s with the pauses between slices; a slice: at most ${most.roundTrips} D1 round trips, ` +
    `${most.rowsRead} rows read, ${most.rowsWritten} written; isolate ${inMebibytes(before)} before, ${inMebibytes(peak)} at most; ` +
    `all of it: ${inDollars(dollars)} (${parts})`
  );
}

async function countOf(control: Control, store: string, table: string): Promise<number> {
  return (await control.sql<{ rows: number }>(store, `SELECT count(*) AS rows FROM ${table}`))[0]?.rows ?? 0;
}

const collecting: Row = {
  name: 'collection: 1,000,000 blobs and 100,000 manifests at central, a tenth of them garbage',
  mustReach: `finishes in slices, ≤ ${ROWS_PER_BLOB} D1 rows read a blob, isolate + ${inMebibytes(FLAT)} at most`,
  boundBy: 'each link with its references, each location; the statement that deletes a row judges it again',
  run: async (surroundings) => {
    const images = surroundings.tiny ? 1000 : 100_000;
    const berth = await surroundings.startCountedObserved();
    try {
      const { control } = berth;
      await insertImages(control, 'central', images, LAYERS);
      await deleteSome(control, images);
      const collected = await round(berth, 'central', 'collect');
      const blobs = images * LAYERS;
      const left = await countOf(control, 'central', 'locations');
      const rows = collected.operations.rowsRead / blobs;
      return outcome(
        `${rows.toFixed(1)} rows read a blob, isolate ${inMebibytes(collected.peak - collected.before, true)}`,
        [
          ...(rows <= ROWS_PER_BLOB ? [] : ['more rows are read']),
          ...(left === blobs - blobs / GARBAGE ? [] : [`${left} blobs are left`]),
          ...(collected.peak - collected.before <= FLAT ? [] : ['memory is not flat']),
        ],
        detailsOf(collected),
        { ...collected, rowsPerBlob: rows, left },
      );
    } finally {
      await berth.stop();
    }
  },
};

const IMAGES_AT_NODE = 10_000;

const evicting: Row = {
  name: `collection: ${IMAGES_AT_NODE.toLocaleString('en')} images of three blobs evicted from a node`,
  mustReach: `finishes in slices, isolate + ${inMebibytes(FLAT)} at most`,
  boundBy: 'a transaction for each image, which judges again whether it may leave',
  run: async (surroundings) => {
    const images = surroundings.tiny ? 200 : IMAGES_AT_NODE;
    const berth = await surroundings.startCountedObserved();
    try {
      const { control } = berth;
      await insertImages(control, 'central', images, 3, ['central', 'node1']);
      await insertImages(control, 'node1', images, 3);
      const evicted = await round(berth, 'node1', 'evict', { bytes: 1 });
      const left = await countOf(control, 'node1', 'manifests');
      const bytesLeft = await countOf(control, 'node1', 'locations');
      const kept = await countOf(control, 'central', "locations WHERE store = 'central'");
      const rows = evicted.operations.rowsRead / images;
      return outcome(
        `${rows.toFixed(0)} rows read an image, isolate ${inMebibytes(evicted.peak - evicted.before, true)}`,
        [
          ...(left === 0 && bytesLeft === 0 ? [] : [`${left} images and ${bytesLeft} blobs are left`]),
          ...(kept === images * 3 ? [] : [`central has ${kept} blobs`]),
          ...(evicted.peak - evicted.before <= FLAT ? [] : ['memory is not flat']),
        ],
        detailsOf(evicted),
        { ...evicted, rowsPerImage: rows, left, bytesLeft, kept },
      );
    } finally {
      await berth.stop();
    }
  },
};

const MEDIAN_LIMIT = 1.3;
const P99_LIMIT = 2;

interface Samples {
  readonly push: number[];
  readonly pull: number[];
}

const noticing: Row = {
  name: 'collection: a push and a pull of a two-layer image while central collects, against idle',
  mustReach: `≤ ${MEDIAN_LIMIT} × median, ≤ ${P99_LIMIT} × p99`,
  boundBy: 'slices, each followed by a pause five times as long',
  run: async (surroundings) => {
    const [images, rounds] = surroundings.tiny ? [1000, 2] : [5000, 4];
    const berth = await surroundings.startCountedObserved();
    try {
      const { control } = berth;
      const { central } = berth.clients('alice/meanwhile');
      const layer = layers(500_000);
      const once = async ({ push, pull }: Samples): Promise<void> => {
        await central.logIn();
        const config = randomBlob(1000);
        const pushed: { digest: string; size: number }[] = [];
        let image = imageOf(config);
        const start = performance.now();
        await central.pushByPatch(config.bytes, config.digest, true);
        for (let i = 0; i < 2; i++) {
          const { bytes, digest } = layer();
          await central.pushByPatch(bytes, digest, true);
          pushed.push({ digest, size: bytes.byteLength });
        }
        image = imageOf(config, pushed);
        await central.pushManifest(image, 'latest');
        push.push(performance.now() - start);
        pull.push(
          await timed(async () => {
            await central.request(200, 'GET', 'manifests/latest');
            for (const { digest } of [config, ...pushed]) await central.request(200, 'GET', `blobs/${digest}`);
          }),
        );
      };
      await insertImages(control, 'central', images, LAYERS);
      const warmUp: Samples = { push: [], pull: [] };
      for (let i = 0; i < 10; i++) await once(warmUp);
      const [idle, busy]: [Samples, Samples] = [
        { push: [], pull: [] },
        { push: [], pull: [] },
      ];
      let collected = 0;
      for (let number = 0; number < rounds; number++) {
        await insertUnreferenced(control, images);
        await restart(control, 'central', 'collect');
        await control.quiet();
        const before = await countOf(control, 'central', 'locations');
        const progress = { isDone: false };
        const collection = control.slices('central', 120_000).finally(() => (progress.isDone = true));
        const begun = busy.push.length;
        while (!progress.isDone) await once(busy);
        await collection;
        // The last pair is dropped, because the collection ended while it was under way.
        busy.push.pop();
        busy.pull.pop();
        const here = busy.push.length - begun;
        collected += before + (here + 1) * 3 - (await countOf(control, 'central', 'locations'));
        for (let i = 0; i < here; i++) await once(idle);
      }
      const ratios = (['push', 'pull'] as const).map((kind) => {
        const at = (share: number): number => quantile(busy[kind], share) / quantile(idle[kind], share);
        return { kind, median: at(0.5), p99: at(0.99) };
      });
      return outcome(
        ratios
          .map(({ kind, median: middle, p99 }) => `${kind} ${middle.toFixed(2)} ×, p99 ${p99.toFixed(2)} ×`)
          .join('; '),
        [
          ...ratios.flatMap(({ kind, median: middle, p99 }) => [
            ...(middle <= MEDIAN_LIMIT ? [] : [`the median ${kind} is slower`]),
            ...(p99 <= P99_LIMIT ? [] : [`the slowest ${kind} is slower`]),
          ]),
          ...(collected === images * rounds ? [] : [`${collected} blobs were collected meanwhile`]),
        ],
        `${collected} blobs collected meanwhile; ${busy.push.length} of each; push ${median(busy.push).toFixed(0)} against ${median(idle.push).toFixed(0)} ms, ` +
          `pull ${median(busy.pull).toFixed(0)} against ${median(idle.pull).toFixed(0)} ms`,
        { idle, busy, ratios, collected },
      );
    } finally {
      await berth.stop();
    }
  },
};

export const collection: readonly Row[] = [collecting, noticing, evicting];
