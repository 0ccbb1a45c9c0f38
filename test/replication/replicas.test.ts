/**
 * Central's read replicas lag. The nearest one serves a node, but only the primary can say that something does not
 * exist.
 */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { Reference, Tag } from '../../src/oci/reference.ts';
import { pushImage } from '../support/collecting.ts';
import { resetCounts } from '../support/counting.ts';
import { granted } from '../support/fixture.ts';
import { type Hosts, openHosts } from '../support/hosts.ts';

const LATEST = 'latest' as Tag;
const TAG: Reference = { kind: 'tag', tag: LATEST };

/** Returns a database with another one as its replica. */
function replicated(primary: D1Database, replica: D1Database): D1Database {
  const wrap = (statement: D1PreparedStatement): D1PreparedStatement =>
    ({
      bind: (...values: unknown[]) => wrap(statement.bind(...values)),
      all: async () => {
        const { meta, ...answer } = await statement.all();
        return { ...answer, meta: { ...meta, served_by_primary: false } };
      },
    }) as unknown as D1PreparedStatement;
  return {
    prepare: (query: string) => primary.prepare(query),
    batch: (statements: D1PreparedStatement[]) => primary.batch(statements),
    withSession: () => ({ prepare: (query: string) => wrap(replica.prepare(query)) }),
  } as unknown as D1Database;
}

/** Opens hosts where node2's database is central's replica. */
const openReplicated = (): Promise<Hosts> =>
  openHosts({
    reach: (database, name) => (name === 'central' ? replicated(database, env.DB_NODE2!) : database),
    centralHasReplicas: true,
  });

/** Looks a tag up at node1, without its manifest. */
const resolve = (hosts: Hosts): Promise<unknown> => hosts.node1.registry.resolveManifest(granted(), TAG, false);

/** Pulls at node1. */
async function pull(hosts: Hosts, reference: Reference): Promise<Digest> {
  try {
    return (await hosts.node1.registry.getManifest(granted(), reference)).digest;
  } finally {
    await hosts.settled();
  }
}

test('the primary serves images that the replica does not know yet', async () => {
  const hosts = await openReplicated();
  const image = await pushImage(hosts.central, 1, [LATEST]);
  expect(await pull(hosts, TAG)).toBe(image.digest);
  const other = await pushImage(hosts.central, 3, []);
  expect(await pull(hosts, { kind: 'digest', digest: other.digest })).toBe(other.digest);
});

test('the replica serves images that it has', async () => {
  const hosts = await openReplicated();
  const image = await pushImage(hosts.central, 1, [LATEST]);
  await hosts.node2.registry.getManifest(granted(), TAG);
  await hosts.settled();
  // The tag moves, which the replica does not know yet.
  await pushImage(hosts.central, 3, [LATEST]);
  expect(await pull(hosts, TAG)).toBe(image.digest);
});

test('only the primary says that something does not exist', async () => {
  const hosts = await openReplicated();
  await pushImage(hosts.central, 1, []);
  resetCounts(hosts.central.counts);
  await expect(resolve(hosts)).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
  expect(hosts.central.counts.d1).toBe(2);
});

test('a primary that is itself the nearest is asked once', async () => {
  const hosts = await openHosts({ centralHasReplicas: true });
  await pushImage(hosts.central, 1, []);
  resetCounts(hosts.central.counts);
  await expect(resolve(hosts)).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
  expect(hosts.central.counts.d1).toBe(1);
});
