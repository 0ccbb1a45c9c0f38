/** The time until a push or deletion at one host is visible at the others. */
import { setTimeout as pause } from 'node:timers/promises';
import { type Blob, type Client, imageOf, randomBlob } from '../client.ts';
import { largeContent } from '../content.ts';
import { median, quantile, timed, until } from '../measure.ts';
import { outcome, type Outcome, type Row } from '../row.ts';
import type { CountedBerth, Surroundings } from '../surroundings.ts';
import { FAR_MILLISECONDS } from './nodes-push.ts';

const MIB = 1024 * 1024;
const PUSHES = 200;
const DELETIONS = 102;
/** Number of pushes to observe while layers are copied, and the most layers that this may take. */
const ENOUGH = 40;
const MOST_COPIES = 6;
const PING_PAUSE_MILLISECONDS = 20;

interface Hosts extends CountedBerth {
  readonly config: Blob;
}

async function hostsOf(surroundings: Surroundings, repository: string): Promise<Hosts> {
  const berth = await surroundings.counted();
  const hosts = { ...berth, ...berth.clients(repository), config: randomBlob(300) };
  for (const client of all(hosts)) {
    await client.logIn();
    await client.pushByPut(hosts.config.bytes, hosts.config.digest);
  }
  // The first push also announces the blob.
  await hosts.node1.pushManifest(imageOf(hosts.config), 'first');
  await hosts.control.settled();
  return hosts;
}

function all({ central, node1, node2 }: Pick<Hosts, 'central' | 'node1' | 'node2'>): readonly Client[] {
  return [central, node1, node2];
}

async function seen(clients: readonly Client[], path: string, status: number): Promise<void> {
  await Promise.all(
    clients.map((client) =>
      until(`${path} is ${status}`, async () => (await client.status('GET', path)) === status, { seconds: 30 }),
    ),
  );
}

/** Returns the milliseconds from the node's 201 for a manifest until central and the other node answer 200 for it. */
async function timeUntilSeen({ central, node1, node2, config }: Hosts): Promise<number> {
  for (const client of [central, node1, node2]) await client.logIn();
  const image = imageOf(config);
  const tag = image.digest.slice(-16);
  await node1.pushManifest(image, tag);
  const start = performance.now();
  await seen([central, node2], `manifests/${tag}`, 200);
  return performance.now() - start;
}

/**
 * Pulls an image at both nodes, and waits until each has its row. From then on, a node answers by digest without
 * central.
 */
async function heldAtNodes({ control, node1, node2 }: Hosts, digest: string): Promise<void> {
  for (const [store, client] of Object.entries({ node1, node2 })) {
    await client.request(200, 'GET', `manifests/${digest}`);
    await until(`${store} holds ${digest}`, async () => {
      const rows = await control.sql(
        store,
        `SELECT 1 FROM manifests WHERE digest = '${digest}' AND created_version > deleted_version`,
      );
      return rows.length > 0;
    });
  }
}

/**
 * Returns the milliseconds from the 202 for a deletion until every host answers 404. A manifest is also requested by
 * its digest, because a node that holds it learns of its deletion only from the change log. For a tag, a node always
 * asks central.
 */
async function timeUntilGone(hosts: Hosts, host: Client, kind: 'manifest' | 'tag', tag: string): Promise<number> {
  const image = imageOf(hosts.config);
  await host.pushManifest(image, tag);
  await seen(all(hosts), `manifests/${tag}`, 200);
  await heldAtNodes(hosts, image.digest);
  await host.request(202, 'DELETE', `manifests/${kind === 'manifest' ? image.digest : tag}`);
  const start = performance.now();
  const gone = kind === 'manifest' ? [image.digest, tag] : [tag];
  await Promise.all(gone.map((reference) => seen(all(hosts), `manifests/${reference}`, 404)));
  return performance.now() - start;
}

/** Returns the slowest of sequential requests that use no binding, in milliseconds, while `going` holds. */
async function slowestPing({ node1 }: Hosts, going: () => boolean): Promise<number> {
  let slowest = 0;
  while (going()) {
    slowest = Math.max(slowest, await timed(() => node1.request(200, 'GET', '/')));
    await pause(PING_PAUSE_MILLISECONDS);
  }
  return slowest;
}

/**
 * Measures pushes one after the other while a layer of the same node is copied. Only those count that ended before the
 * copy did.
 */
async function timesWhileCopied(
  hosts: Hosts,
  bytes: number,
  delay: number,
): Promise<{ times: number[]; slowest: number }> {
  const { control, node1 } = hosts;
  const content = largeContent(bytes);
  await control.link('central', 0);
  for (const client of all(hosts)) await client.logIn();
  await node1.pushByPatch(content, content.digest, false);
  await control.link('central', delay);
  const copying = async (): Promise<boolean> =>
    (
      await control.sql(
        'central',
        `SELECT 1 FROM locations WHERE copy_up_for IS NOT NULL AND digest = '${content.digest}'`,
      )
    ).length > 0;
  await node1.pushManifest(imageOf(hosts.config, [{ digest: content.digest, size: content.byteLength }]), 'large');
  await until('the layer is announced', copying);
  const times: number[] = [];
  const work = { goesOn: true };
  // Even requests that use no binding have to wait: the simulators and the Worker share one thread.
  const pinged = slowestPing(hosts, () => work.goesOn);
  try {
    while (work.goesOn) {
      const time = await timeUntilSeen(hosts);
      work.goesOn = await copying();
      if (work.goesOn) times.push(time);
    }
  } finally {
    work.goesOn = false;
  }
  return { times, slowest: await pinged };
}

function judge(times: readonly number[], limits: { readonly p99: number; readonly median?: number }): Outcome {
  const [middle, late] = [median(times), quantile(times, 0.99)];
  return outcome(
    `median ${middle.toFixed(0)} ms, p99 ${late.toFixed(0)} ms`,
    [
      ...(late <= limits.p99 ? [] : [`p99 above ${limits.p99} ms`]),
      ...(middle <= (limits.median ?? Infinity) ? [] : [`median above ${limits.median} ms`]),
    ],
    `${times.length} times, slowest ${Math.max(...times).toFixed(0)} ms`,
    { times },
  );
}

function row(delay: number, limits: { readonly p99: number; readonly median: number }): Row {
  return {
    name: `nodes: manifest pushed to a node, seen at central and at the other node, central ${delay} ms away`,
    mustReach: `median ≤ ${limits.median} ms, p99 ≤ ${limits.p99} ms`,
    boundBy: 'one wake-up and one round trip to central; seeing it takes another round trip',
    run: async (surroundings) => {
      const hosts = await hostsOf(surroundings, `alice/seen-${delay}`);
      await hosts.control.link('central', delay);
      const times: number[] = [];
      for (let i = 0; i < (surroundings.tiny ? 5 : PUSHES); i++) times.push(await timeUntilSeen(hosts));
      await hosts.control.link('central', 0);
      return judge(times, limits);
    },
  };
}

function rowWhileCopied(delay: number): Row {
  return {
    name: `nodes: manifest pushed to a node, seen while a 300 MiB layer is being copied, central ${delay} ms away`,
    mustReach: 'p99 ≤ 1000 ms',
    boundBy:
      'here: the one thread of the simulators, which a part that is copied keeps busy; metadata and bytes have a lane each',
    run: async (surroundings) => {
      const hosts = await hostsOf(surroundings, `alice/seen-while-copied-${delay}`);
      const times: number[] = [];
      let [slowest, copies] = [0, 0];
      for (; times.length < ENOUGH && copies < MOST_COPIES; copies++) {
        const measured = await timesWhileCopied(hosts, (surroundings.tiny ? 100 : 300) * MIB, delay);
        times.push(...measured.times);
        slowest = Math.max(slowest, measured.slowest);
        if (surroundings.tiny) break;
      }
      await hosts.control.link('central', 0);
      if (times.length === 0) return outcome('nothing', ['the copy was over too soon'], '', {});
      const judged = judge(times, { p99: 1000 });
      const pings = `meanwhile a request that asks no binding took up to ${slowest.toFixed(0)} ms`;
      return { ...judged, details: `${judged.details}; ${pings}`, figures: { times, slowestPing: slowest } };
    },
  };
}

export const nodesSeen: readonly Row[] = [
  row(FAR_MILLISECONDS, { p99: 1000, median: 500 }),
  row(0, { p99: 250, median: 50 }),
  rowWhileCopied(FAR_MILLISECONDS),
  rowWhileCopied(0),
  {
    name: `nodes: deletion at any host, gone at all, central ${FAR_MILLISECONDS} ms away`,
    mustReach: 'p99 ≤ 1000 ms, of manifests and of tags',
    boundBy:
      "at a node, central's deletion, which comes first; elsewhere, for a manifest, a wake-up and the change log",
    run: async (surroundings) => {
      const hosts = await hostsOf(surroundings, 'alice/deleted');
      await hosts.control.link('central', FAR_MILLISECONDS);
      const times: Record<'manifest' | 'tag', number[]> = { manifest: [], tag: [] };
      for (let i = 0; i < (surroundings.tiny ? 6 : DELETIONS); i++) {
        for (const client of all(hosts)) await client.logIn();
        const kind = i % 6 < 3 ? 'manifest' : 'tag';
        times[kind].push(await timeUntilGone(hosts, all(hosts)[i % 3] ?? hosts.central, kind, `deleted-${i}`));
      }
      await hosts.control.link('central', 0);
      const [ofManifests, ofTags] = [judge(times.manifest, { p99: 1000 }), judge(times.tag, { p99: 1000 })];
      return {
        measured: `manifests: ${ofManifests.measured}; tags: ${ofTags.measured}`,
        reached: ofManifests.reached && ofTags.reached,
        details: `manifests: ${ofManifests.details}; tags: ${ofTags.details}`,
        figures: { times },
      };
    },
  },
];
