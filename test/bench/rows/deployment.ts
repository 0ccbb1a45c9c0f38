/**
 * The waits of clients in a deployment, where every store takes its time and central is far away. Latencies and the
 * bandwidth of each connection are drawn from a seeded sequence. `test/replication/deployment.test.ts` counts the same
 * in virtual time.
 */
import { type Blob, type Client, type Document, imageOf, randomBlob } from '../client.ts';
import { DEPLOYMENT } from '../../support/deployment-profile.ts';
import type { Control } from '../control.ts';
import { median, timed } from '../measure.ts';
import { outcome, type Row } from '../row.ts';
import type { CountedBerth } from '../surroundings.ts';
import { FAR_MILLISECONDS } from './nodes-push.ts';

/** The longest that a node waits for central before it answers that it lacks a layer. */
const REUSE_MILLISECONDS = 250;
const ROUNDS = 9;
/** Rounds of pulls. A pull has few waits, so their draws differ much. */
const ROUNDS_OF_PULLS = 31;
const LAYER_BYTES = 100_000;

interface Content {
  readonly config: Blob;
  readonly layers: readonly Blob[];
  readonly image: Document;
}

function contentOf(layerCount: number, layerBytes = LAYER_BYTES): Content {
  const config = randomBlob(300);
  const layers = Array.from({ length: layerCount }, () => randomBlob(layerBytes));
  return { config, layers, image: imageOf(config, layers) };
}

/** Works through the items, several at once, as clients do with layers. */
async function severalAtOnce<Item>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
    }),
  );
}

/** The waves of HEADs of a docker-style push: ten layers five at a time, then the config. */
const PUSH_WAVES = 3;

/** Pushes like docker: asks for each blob before uploading it, five layers at a time, then the config. */
async function pushLikeDocker(client: Client, { config, layers, image }: Content): Promise<void> {
  const pushBlob = async ({ bytes, digest }: Blob): Promise<void> => {
    await client.request(404, 'HEAD', `blobs/${digest}`);
    await client.pushByPatch(bytes, digest, true);
  };
  await severalAtOnce(layers, 5, pushBlob);
  await pushBlob(config);
  await client.pushManifest(image, 'latest');
}

const push: Row = {
  name: `deployment: docker push of ten layers to a node, central ${FAR_MILLISECONDS} ms away or stalled, against 0 ms`,
  mustReach: `+ ${FAR_MILLISECONDS} ms a wave of HEADs when far, + ${REUSE_MILLISECONDS} ms when stalled, and 10 %`,
  boundBy: "one question to central for each of the client's HEADs",
  run: async (surroundings) => {
    const berth = await surroundings.startCounted();
    try {
      const { control } = berth;
      const { node1 } = berth.clients('alice/docker');
      const once = async (state: 'here' | 'stalled', delay: number): Promise<number> => {
        await control.link('central', 0);
        await control.profile(undefined);
        await control.settled();
        await node1.logIn();
        const content = contentOf(10);
        await control.profile(DEPLOYMENT);
        await control.link('central', delay, state);
        return timed(() => pushLikeDocker(node1, content));
      };
      const times = { near: [] as number[], far: [] as number[], stalled: [] as number[] };
      for (let i = 0; i < (surroundings.tiny ? 1 : ROUNDS); i++) {
        times.near.push(await once('here', 0));
        times.far.push(await once('here', FAR_MILLISECONDS));
        times.stalled.push(await once('stalled', 0));
      }
      const near = median(times.near);
      const more = { far: median(times.far) - near, stalled: median(times.stalled) - near };
      const most = {
        far: PUSH_WAVES * FAR_MILLISECONDS + near / 10,
        stalled: PUSH_WAVES * REUSE_MILLISECONDS + near / 10,
      };
      return outcome(
        `+ ${more.far.toFixed(0)} ms far, + ${more.stalled.toFixed(0)} ms stalled`,
        (['far', 'stalled'] as const).flatMap((kind) =>
          more[kind] <= most[kind] ? [] : [`${kind}: more than ${most[kind].toFixed(0)} ms more`],
        ),
        `${PUSH_WAVES} waves; ${near.toFixed(0)} ms near`,
        { times, near, more, most },
      );
    } finally {
      await berth.stop();
    }
  },
};

/** Pulls like docker: the manifest by tag, then config and layers three at a time. */
async function pullLikeDocker(client: Client, { config, layers }: Content): Promise<void> {
  await client.request(200, 'GET', 'manifests/latest');
  await severalAtOnce([config, ...layers], 3, ({ digest }) => client.request(200, 'GET', `blobs/${digest}`));
}

/** One for the manifest, and one for the first bytes of each wave: nine blobs, three at a time. */
const PULL_TRIPS = 4;

async function pushToCentral(client: Client, { config, layers, image }: Content): Promise<void> {
  for (const { bytes, digest } of [config, ...layers]) await client.pushByPut(bytes, digest);
  await client.pushManifest(image, 'latest');
}

const firstPull: Row = {
  name: `deployment: first pull at a node of eight layers that only central has, ${FAR_MILLISECONDS} ms away`,
  mustReach: '≤ 1.3 × the trips that the distance forces',
  boundBy: `${PULL_TRIPS} trips: the manifest, and the first bytes of each wave of three blobs`,
  run: async (surroundings) => {
    const berth = await surroundings.startCounted();
    try {
      const { control } = berth;
      const { central, node1 } = berth.clients('alice/first');
      const once = async (delay: number): Promise<number> => {
        await control.link('central', 0);
        await control.profile(undefined);
        await Promise.all([central.logIn(), node1.logIn()]);
        const content = contentOf(8);
        await pushToCentral(central, content);
        await control.quiet();
        await control.profile(DEPLOYMENT);
        await control.link('central', delay);
        return timed(() => pullLikeDocker(node1, content));
      };
      const times = { near: [] as number[], far: [] as number[] };
      for (let i = 0; i < (surroundings.tiny ? 1 : ROUNDS_OF_PULLS); i++) {
        times.near.push(await once(0));
        times.far.push(await once(FAR_MILLISECONDS));
      }
      const [near, far] = [median(times.near), median(times.far)];
      const ratio = (far - near) / (PULL_TRIPS * FAR_MILLISECONDS);
      return outcome(
        `${ratio.toFixed(2)} ×`,
        ratio <= 1.3 ? [] : ['more calls to central are in series'],
        `${far.toFixed(0)} ms far, ${near.toFixed(0)} ms near, ${PULL_TRIPS} trips of ${FAR_MILLISECONDS} ms`,
        { times, ratio },
      );
    } finally {
      await berth.stop();
    }
  },
};

/** Pushes an image to a node, and waits until central and the node have everything. */
async function settledAtNode({ control, clients }: CountedBerth, repository: string): Promise<Client & Content> {
  const { node1 } = clients(repository);
  const content = contentOf(2);
  await node1.logIn();
  await pushToCentral(node1, content);
  await control.settled();
  return Object.assign(node1, content);
}

const heldPull: Row = {
  name: 'deployment: pull by tag at a node that holds the image',
  mustReach: 'one D1 round trip at each store for the manifest, none at central for the blobs',
  boundBy: "central's answer tells whether the tag has moved",
  run: async (surroundings) => {
    const berth = await surroundings.startCounted();
    try {
      const { control } = berth;
      const pulls = surroundings.tiny ? 5 : 500;
      const image = await settledAtNode(berth, 'alice/held');
      // The first pull lets the node learn what it needs.
      await pullLikeDocker(image, image);
      await control.quiet();
      await control.resetCounts();
      const milliseconds = await timed(async () => {
        for (let i = 0; i < pulls; i++) await image.request(200, 'GET', 'manifests/latest');
      });
      const tag = await counted(control);
      // Every five seconds, the isolate reads again which organizations are mirrors.
      const most = pulls + 1 + milliseconds / 5000;
      await control.resetCounts();
      for (let i = 0; i < pulls; i++) {
        for (const { digest } of [image.config, ...image.layers]) await image.request(200, 'GET', `blobs/${digest}`);
      }
      const blobs = await counted(control);
      return outcome(
        `${tag.node / pulls} and ${tag.central / pulls} round trips a manifest, ${blobs.central / pulls} at central for the blobs`,
        [
          ...(tag.central <= most && tag.node <= most ? [] : ['a manifest costs more round trips']),
          ...(blobs.central === 0 ? [] : ['central is asked for blobs']),
        ],
        `${pulls} pulls; blobs: ${blobs.node / pulls} round trips at the node`,
        { pulls, tag, blobs },
      );
    } finally {
      await berth.stop();
    }
  },
};

/** Returns the D1 round trips and R2 calls of requests, by store. */
async function counted(control: Control): Promise<{ readonly node: number; readonly central: number }> {
  const at = async (store: string): Promise<number> => {
    const { roundTrips, classA, classB } = await control.counts({ scope: 'request', store });
    return store === 'central' ? roundTrips + classA + classB : roundTrips;
  };
  return { node: await at('node1'), central: await at('central') };
}

const MACHINES = 200;

const boot: Row = {
  name: `deployment: ${MACHINES} machines behind a node boot at once one 4 MB image that only central has`,
  mustReach: 'every pull succeeds, ≤ 1.5 × the calls of one alone, each blob copied once',
  boundBy: "the pulls that begin before the node has its copy read central's bucket",
  run: async (surroundings) => {
    const berth = await surroundings.startCounted();
    try {
      const { control } = berth;
      const machines = surroundings.tiny ? 5 : MACHINES;
      const run = async (repository: string, count: number) => {
        await control.profile(undefined);
        const { central, node1 } = berth.clients(repository);
        const content = contentOf(1, 4_000_000);
        await Promise.all([central.logIn(), node1.logIn()]);
        await pushToCentral(central, content);
        await control.quiet();
        await control.profile(DEPLOYMENT);
        await control.resetCounts();
        await Promise.all(Array.from({ length: count }, () => pullLikeDocker(node1, content)));
        const requests = await control.counts({ scope: 'request' });
        await control.profile(undefined);
        await control.quiet();
        const copied = await control.counts({ store: 'node1' });
        const bucket = await control.counts({ store: 'central' });
        return { calls: (requests.roundTrips + requests.classB) / count, copied: copied.classA, reads: bucket.classB };
      };
      const alone = await run('alice/one', 1);
      const all = await run('alice/many', machines);
      const ratio = all.calls / alone.calls;
      return outcome(
        `${ratio.toFixed(2)} × the calls, ${all.copied} copies of 2 blobs`,
        [...(ratio <= 1.5 ? [] : ['more calls']), ...(all.copied === 2 ? [] : ['blobs are copied more than once'])],
        `${all.calls.toFixed(1)} D1 round trips and R2 reads a machine, ${alone.calls.toFixed(1)} alone; central's bucket is read ${all.reads} times, ${alone.reads} alone`,
        { alone, all, ratio, machines },
      );
    } finally {
      await berth.stop();
    }
  },
};

export const deployment: readonly Row[] = [push, firstPull, heldPull, boot];
