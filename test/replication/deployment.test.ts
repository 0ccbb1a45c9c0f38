/**
 * The waits of clients in a deployment, where central is far away: counted in trips to central, and in virtual time by
 * the profile of a deployment.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { Reference, Tag } from '../../src/oci/reference.ts';
import { DEPLOYMENT, Latencies } from '../support/deployment-profile.ts';
import {
  bodyOf,
  bytesIn,
  bytesOf,
  contentDigest,
  granted,
  type Image,
  imageOf,
  REPOSITORY,
  session,
} from '../support/fixture.ts';
import { resetCounts } from '../support/counting.ts';
import { type Host, type Hosts, type HostsOptions, openHosts } from '../support/hosts.ts';
import { pacedR2 } from '../support/paced-bucket.ts';
import { VirtualTime } from '../support/virtual-time.ts';

const LATEST = { kind: 'tag', tag: 'latest' as Tag } as const;
/** The time of a round trip to central in the profile, in milliseconds. */
const FAR = 100;
/** The bench boots 200. */
const MACHINES = 50;
const SUBJECT = 'credential-of-alice';

let time: VirtualTime;
let hosts: Hosts;

beforeEach(() => {
  time = new VirtualTime();
});

afterEach(() => {
  vi.useRealTimers();
});

interface Content {
  readonly image: Image;
  readonly config: Digest;
  readonly layers: readonly Digest[];
  readonly bytes: ReadonlyMap<Digest, Uint8Array<ArrayBuffer>>;
}

async function contentOf(seed: number, layerCount: number, layerBytes = 1000): Promise<Content> {
  const bytes = new Map<Digest, Uint8Array<ArrayBuffer>>();
  for (let i = 0; i <= layerCount; i++) {
    const each = bytesOf(seed * 100 + i + 1, i === 0 ? 300 : layerBytes);
    bytes.set(await contentDigest(each), each);
  }
  const [config, ...layers] = [...bytes.keys()];
  return { image: await imageOf(config!, layers), config: config!, layers, bytes };
}

/** Works through the items, several at once, as clients do with layers. */
async function severalAtOnce<Item>(items: readonly Item[], atOnce: number, work: (item: Item) => Promise<unknown>) {
  const left = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
    }),
  );
}

async function putImage({ registry }: Host, { image, bytes }: Content): Promise<void> {
  for (const [digest, each] of bytes) await registry.putBlob(REPOSITORY, digest, bodyOf(each));
  await registry.putManifest(REPOSITORY, image.digest, image.manifest, image.bytes.byteLength, ['latest' as Tag]);
}

/** Pushes like docker: asks for each blob before it uploads it, five layers at a time, then the config. */
async function pushLikeDocker({ registry }: Host, { image, config, layers, bytes }: Content): Promise<void> {
  const pushBlob = async (digest: Digest): Promise<void> => {
    await expect(registry.resolveBlob(granted(), digest, true)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
    const opened = await registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    const sent = await registry.appendChunk(session(opened), undefined, bodyOf(bytes.get(digest)!, 'unknown'));
    await registry.finishUpload(session(sent), digest, undefined, undefined);
  };
  await severalAtOnce(layers, 5, pushBlob);
  await pushBlob(config);
  await registry.putManifest(REPOSITORY, image.digest, image.manifest, image.bytes.byteLength, ['latest' as Tag]);
}

async function pullBlob({ registry }: Host, digest: Digest): Promise<void> {
  const blob = await registry.getBlob(granted(), digest, true);
  expect((await bytesIn(await blob.open())).byteLength).toBe(blob.size);
}

/** Pulls like docker: the manifest, then config and layers three at a time. */
async function pull(host: Host, { config, layers }: Content, reference: Reference = LATEST): Promise<void> {
  await host.registry.getManifest(granted(), reference);
  await severalAtOnce([config, ...layers], 3, (digest) => pullBlob(host, digest));
}

/** Resolves the tag first, and asks for the rest by digest, like containerd. */
async function resolveAndPull(host: Host, content: Content): Promise<void> {
  const { digest } = await host.registry.resolveManifest(granted(), LATEST, false);
  await pull(host, content, { kind: 'digest', digest });
}

/** Lets a call to central take one unit of time, and all others none: so time counts trips in series. */
async function countTrips(options: HostsOptions = {}): Promise<void> {
  hosts = await openHosts(options);
  hosts.central.gate = time.gate(() => 1);
  for (const node of hosts.nodes) node.gate = time.gate(() => 0);
}

/** Opens hosts whose calls take as long as in a deployment. */
async function deploy(seed: number, distance: number): Promise<void> {
  const latencies = new Latencies({ ...DEPLOYMENT, seed });
  const pace = { ofBytes: (bytes: number) => latencies.ofBytes(bytes), now: time.now, real: time.real };
  hosts = await openHosts({ reachBucket: (bucket) => pacedR2(bucket, pace) });
  hosts.central.gate = time.gate((call) => distance + latencies.of(call));
  for (const node of hosts.nodes) node.gate = time.gate((call) => latencies.of(call));
}

/** Does work that nobody measures. */
const before = (work: () => Promise<unknown>): Promise<number> => time.taken(work);

describe('the first pull of eight layers that only central has', () => {
  test('waits for one trip for the manifest, and one for each wave of three blobs', async () => {
    await countTrips();
    const content = await contentOf(1, 8);
    await before(() => putImage(hosts.central, content));
    expect(await time.taken(() => pull(hosts.node1, content))).toBe(1 + 3);
  });

  test('waits for one trip more if the client resolves the tag first', async () => {
    await countTrips();
    const content = await contentOf(1, 8);
    await before(() => putImage(hosts.central, content));
    expect(await time.taken(() => resolveAndPull(hosts.node1, content))).toBe(2 + 3);
  });

  test('waits for no trip more if the tag was on another image at the node', async () => {
    await countTrips();
    const [old, content] = [await contentOf(1, 1), await contentOf(2, 8)];
    await before(() => putImage(hosts.central, old));
    // The first pull brings it to the node, and the second one finds it there.
    for (let i = 0; i < 2; i++) {
      await before(() => pull(hosts.node1, old));
      await before(() => hosts.settled());
    }
    await before(() => putImage(hosts.central, content));
    expect(await time.taken(() => pull(hosts.node1, content))).toBe(1 + 3);
  });

  test('waits for two trips a wave if another isolate served the manifest', async () => {
    await countTrips();
    const content = await contentOf(1, 8);
    await before(() => putImage(hosts.central, content));
    await before(() => hosts.node1.registry.getManifest(granted(), LATEST));
    await before(() => hosts.settled());
    await countTrips();
    expect(await time.taken(() => pull(hosts.node1, content))).toBe(1 + 2 * 3);
  });

  test.each([1, 2, 3])(
    'by the profile with seed %i, takes at most 1.3 times what the distance forces',
    async (seed) => {
      const content = await contentOf(1, 8, 100_000);
      await deploy(seed, 0);
      await before(() => putImage(hosts.central, content));
      const near = await time.taken(() => pull(hosts.node1, content));
      await deploy(seed, FAR);
      const far = await time.taken(() => pull(hosts.node2, content));
      expect(far - near).toBeLessThanOrEqual(1.3 * 4 * FAR);
    },
  );
});

describe('a docker-style push of ten layers to a node, HEADs included,', () => {
  const WAVES = 3;

  test('waits for one trip a wave of HEADs, and for nothing else far away', async () => {
    await countTrips();
    const content = await contentOf(1, 10);
    expect(await time.taken(() => pushLikeDocker(hosts.node1, content))).toBe(WAVES);
  });

  test('waits for 250 ms a wave while central never answers', async () => {
    await countTrips({ pushWaitMilliseconds: 250 });
    hosts.central.gate = time.gate(() => Infinity);
    const content = await contentOf(1, 10);
    expect(await time.taken(() => pushLikeDocker(hosts.node1, content))).toBe(250 * WAVES);
  });
});

describe('a pull by tag of an image that the node holds', () => {
  async function held(): Promise<Content> {
    const content = await contentOf(1, 2);
    await before(() => putImage(hosts.node1, content));
    await before(() => hosts.drain());
    return content;
  }

  test('waits for one trip, and for none for the blobs', async () => {
    await countTrips();
    const content = await held();
    expect(await time.taken(() => hosts.node1.registry.getManifest(granted(), LATEST))).toBe(1);
    expect(
      await time.taken(() => severalAtOnce([...content.bytes.keys()], 3, (each) => pullBlob(hosts.node1, each))),
    ).toBe(0);
  });

  test('waits for none if central has a replica nearby', async () => {
    await countTrips({ centralHasReplicas: true, gateOfReplicas: time.gate(() => 0) });
    const content = await held();
    expect(await time.taken(() => pull(hosts.node1, content))).toBe(0);
  });
});

test('a fleet that boots an image from central, all machines at once, waits for no more trips than one machine alone', async () => {
  await countTrips();
  const content = await contentOf(1, 1, 40_000);
  await before(() => putImage(hosts.central, content));
  const alone = await time.taken(() => pull(hosts.node2, content));
  resetCounts(hosts.central.counts);
  expect(await time.taken(() => Promise.all(Array.from({ length: MACHINES }, () => pull(hosts.node1, content))))).toBe(
    alone,
  );
  expect(hosts.central.counts.classB).toBe(MACHINES * content.bytes.size);
  await before(() => hosts.drain());
  expect(hosts.node1.counts.classA).toBe(content.bytes.size);
});
