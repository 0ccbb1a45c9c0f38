/** The limits on copying an image's rows down: how many in all, and how many at once. */
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { Tag } from '../../src/oci/reference.ts';
import { copyImageDown, COPIED_DOWN_AT_MOST } from '../../src/replication/copy-down.ts';
import type { Pair } from '../../src/replication/pair.ts';
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import { CHUNK_BYTES, CHUNK_MANIFESTS, CHUNK_REFERENCES } from '../../src/stores/manifests/manifest-records.ts';
import {
  bytesOf,
  type Fixture,
  GRACE,
  granted,
  type Image,
  imageOf,
  indexOf,
  pushBlob,
  pushImage,
  REPOSITORY,
} from '../support/fixture.ts';
import { type Hosts, openHosts } from '../support/hosts.ts';

const LATEST = { kind: 'tag', tag: 'latest' as Tag } as const;

function pairOf({ node1, central, now }: Hosts): Pair {
  return {
    node: node1.store,
    central: central.store,
    now: () => now,
    graceMilliseconds: GRACE,
    limits: DEFAULT_LIMITS,
  };
}

function atCentral({ central }: Hosts): Fixture {
  return { registry: central.registry } as unknown as Fixture;
}

/** Pushes images of one config to central; an annotation makes each as long as asked. */
async function pushImages(hosts: Hosts, count: number, bytes: number): Promise<Digest[]> {
  const config = await pushBlob(atCentral(hosts), bytesOf(1, 20));
  const digests: Digest[] = [];
  for (let i = 0; i < count; i++) {
    const image = await imageOf(config, [], { annotations: { padding: `${i}`.padEnd(bytes, 'x') } });
    await pushImage(atCentral(hosts), image);
    digests.push(image.digest);
  }
  return digests;
}

async function pushIndex(hosts: Hosts, children: readonly Digest[], tags: readonly string[] = []): Promise<Image> {
  const index = await indexOf(children);
  await pushImage(atCentral(hosts), index, tags);
  return index;
}

async function manifestsAtNode(): Promise<string[]> {
  const { results } = await env.DB_NODE1!.prepare('SELECT digest FROM manifests').all<{ digest: string }>();
  return results.map(({ digest }) => digest).toSorted();
}

/** Gives a manifest at central descriptors that it does not state, of blobs that nobody has. */
async function addReferences(manifest: Digest, count: number): Promise<void> {
  await env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?3)
     UPDATE manifests SET descriptors = (
       SELECT json_group_array(json_object(
         'kind', 'layer', 'digest', 'sha256:' || substr(?2, 8, 58) || printf('%06d', i), 'size', 1)) FROM n)
     WHERE repository = ?1 AND digest = ?2`,
  )
    .bind(REPOSITORY, manifest, count)
    .run();
}

/** Notes the characters that each batch carries: to the database in its parameters, and from it in its rows. */
function heaviestCall(database: D1Database, note: (characters: number) => void): D1Database {
  const originals = new WeakMap<object, { readonly prepared: D1PreparedStatement; readonly sent: number }>();
  const lengthOf = (value: unknown): number => (typeof value === 'string' ? value.length : 0);
  const sum = (lengths: readonly number[]): number => lengths.reduce((total, length) => total + length, 0);
  const received = ({ results }: D1Result): number =>
    sum(results.map((row) => sum(Object.values(row as object).map(lengthOf))));
  const wrap = (prepared: D1PreparedStatement, sent: number): D1PreparedStatement => {
    const wrapped = {
      bind: (...values: unknown[]) => wrap(prepared.bind(...values), sum(values.map(lengthOf))),
      all: () => prepared.all(),
      run: () => prepared.run(),
    } as unknown as D1PreparedStatement;
    originals.set(wrapped, { prepared, sent });
    return wrapped;
  };
  return {
    prepare: (query: string) => wrap(database.prepare(query), 0),
    batch: async (statements: D1PreparedStatement[]) => {
      const all = statements.flatMap((statement) => originals.get(statement) ?? []);
      note(sum(all.map(({ sent }) => sent)));
      const results = await database.batch(all.map(({ prepared }) => prepared));
      note(sum(results.map(received)));
      return results;
    },
    withSession: () => heaviestCall(database, note),
  } as unknown as D1Database;
}

describe('copying an image down', () => {
  test('moves manifests in chunks that fit in memory', async () => {
    let heaviest = 0;
    const hosts = await openHosts({
      reach: (database) => heaviestCall(database, (characters) => (heaviest = Math.max(heaviest, characters))),
    });
    const children = await pushImages(hosts, 6, CHUNK_BYTES / 2);
    const index = await pushIndex(hosts, children, ['latest']);
    heaviest = 0;
    const copied = await copyImageDown(pairOf(hosts), REPOSITORY, LATEST);
    expect(copied).toMatchObject({ digest: index.digest, isComplete: true });
    expect(copied?.blobs).toHaveLength(1);
    expect(await manifestsAtNode()).toEqual([index.digest, ...children].toSorted());
    expect(heaviest).toBeLessThan(1.1 * CHUNK_BYTES);
  });

  test('stops four levels below the image, and a pull finds the rest', async () => {
    const hosts = await openHosts();
    let [below] = await pushImages(hosts, 1, 10);
    const chain = [below!];
    for (let level = 0; level < 5; level++) {
      const index: Image = await pushIndex(hosts, [below!], level === 4 ? ['latest'] : []);
      chain.unshift((below = index.digest));
    }
    const copied = await copyImageDown(pairOf(hosts), REPOSITORY, LATEST);
    expect(copied).toMatchObject({ digest: chain[0], isComplete: false });
    expect(await manifestsAtNode()).toEqual(chain.slice(0, 5).toSorted());
    const deepest = { kind: 'digest', digest: chain[5]! } as const;
    expect((await hosts.node1.registry.getManifest(granted(), deepest)).digest).toBe(chain[5]);
    await hosts.settled();
  });

  test('stops after 25,000 references', async () => {
    const hosts = await openHosts();
    const children = await pushImages(hosts, 4, CHUNK_BYTES * 0.9);
    for (const child of children) await addReferences(child, CHUNK_REFERENCES - 1);
    await pushIndex(hosts, children, ['latest']);
    expect(await copyImageDown(pairOf(hosts), REPOSITORY, LATEST)).toMatchObject({ isComplete: false });
    const row = await env.DB_NODE1!.prepare('SELECT count(*) AS count FROM manifest_references').first();
    expect(row?.['count']).toBeGreaterThanOrEqual(COPIED_DOWN_AT_MOST.references);
    expect(row?.['count']).toBeLessThan(COPIED_DOWN_AT_MOST.references + CHUNK_REFERENCES);
    expect(await manifestsAtNode()).toHaveLength(4);
  });

  test('stops before it has more than 32 MiB of manifests', async () => {
    const hosts = await openHosts();
    const children = await pushImages(hosts, 9, 4_000_000);
    await pushIndex(hosts, children, ['latest']);
    expect(await copyImageDown(pairOf(hosts), REPOSITORY, LATEST)).toMatchObject({ isComplete: false });
    expect(await manifestsAtNode()).toHaveLength(1 + Math.floor(COPIED_DOWN_AT_MOST.bytes / 4_000_000));
  });

  test('stops before it has more than 1,000 manifests', async () => {
    const hosts = await openHosts();
    const [child] = await pushImages(hosts, 1, 10);
    const index = await pushIndex(hosts, [child!], ['latest']);
    const more = COPIED_DOWN_AT_MOST.manifests + 100;
    await env.DB_CENTRAL.batch([
      env.DB_CENTRAL.prepare(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?3)
         INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version,
           deleted_version, last_pull)
         SELECT ?1, 'sha256:' || substr(?2, 8, 58) || printf('%06d', i), media_type, '', NULL, 10, created_version, 0, 0
         FROM n CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = ?2`,
      ).bind(REPOSITORY, child!, more),
      env.DB_CENTRAL.prepare(
        `UPDATE manifests SET descriptors = (
           SELECT json_group_array(json_object('kind', 'child', 'digest', m.digest, 'size', 10)) FROM manifests m
           WHERE m.repository = ?1 AND m.digest <> ?2)
         WHERE repository = ?1 AND digest = ?2`,
      ).bind(REPOSITORY, index.digest),
    ]);
    expect(await copyImageDown(pairOf(hosts), REPOSITORY, LATEST)).toMatchObject({ isComplete: false });
    const { length } = await manifestsAtNode();
    expect(length).toBeGreaterThan(COPIED_DOWN_AT_MOST.manifests - CHUNK_MANIFESTS);
    expect(length).toBeLessThanOrEqual(COPIED_DOWN_AT_MOST.manifests);
  });
});
