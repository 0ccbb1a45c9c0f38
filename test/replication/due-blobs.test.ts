/** Central's list of copies up, and how a node's queue goes through it. */
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { copiesUpFrom } from '../../src/replication/copy-rows.ts';
import { DueBlobs } from '../../src/replication/due-blobs.ts';
import { resetCounts } from '../support/counting.ts';
import { type Hosts, openHosts } from '../support/hosts.ts';
import { MemoryQueueState } from '../support/memory-queue-state.ts';

const ALWAYS = (): boolean => true;

describe("central's list of copies up", () => {
  const digestOf = (organization: number, i: number): Digest => `sha256:${organization}-${i}` as Digest;

  /** Announces `blobs` of each organization, with increasing sizes. */
  async function announced(organizations: number, blobs: (organization: number) => number): Promise<void> {
    const rows = Array.from({ length: organizations }, (_, o) =>
      Array.from({ length: blobs(o) }, (_each, i) => ({
        digest: digestOf(o, i),
        organization: `o${String(o).padStart(4, '0')}`,
        size: (blobs(o) - i) * 1000 + o,
      })),
    ).flat();
    const insert = (into: string): D1PreparedStatement =>
      env.DB_CENTRAL.prepare(`${into} FROM json_each(?1) AS r`).bind(JSON.stringify(rows));
    const [digest, repository] = [`(r.value ->> 'digest')`, `(r.value ->> 'organization') || '/app'`];
    await env.DB_CENTRAL.batch([
      insert(`INSERT INTO locations (digest, store, key, size, created_at, lease_until, copy_up_for)
        SELECT ${digest}, 'node1', 'key of ' || ${digest}, r.value ->> 'size', 0, 0, r.value ->> 'organization'`),
      insert(`INSERT INTO links (repository, digest, created_at) SELECT ${repository}, ${digest}, 0`),
      env.DB_CENTRAL.prepare(
        `INSERT INTO manifests (repository, digest, media_type, artifact_type, size, created_version,
          deleted_version, last_pull, descriptors)
        SELECT ${repository}, 'sha256:m', '', '', 0, 1, 0, 0,
          json_group_array(json_object('kind', 'layer', 'digest', ${digest}, 'size', 0))
        FROM json_each(?1) AS r GROUP BY 1`,
      ).bind(JSON.stringify(rows)),
    ]);
  }

  let hosts: Hosts;
  beforeEach(async () => {
    hosts = await openHosts();
  });

  const look = (after = '', limit = 100, except: readonly Digest[] = []) =>
    copiesUpFrom(hosts.central.store.database, 'node1', after, limit, except);

  test('starts with the smallest of each organization, then the next of each', async () => {
    await announced(3, (organization) => [4, 1, 2][organization] ?? 0);
    const { copiesUp, end } = await look();
    expect(end).toBeUndefined();
    expect(copiesUp.map(({ organization, size }) => [organization, size])).toEqual([
      ['o0000', 1000],
      ['o0001', 1001],
      ['o0002', 1002],
      ['o0000', 2000],
      ['o0002', 2002],
      ['o0000', 3000],
      ['o0000', 4000],
    ]);
    expect(copiesUp[0]).toEqual({
      digest: digestOf(0, 3),
      organization: 'o0000',
      size: 1000,
      announced_at: 0,
      key: `key of ${digestOf(0, 3)}`,
    });
    expect((await look('', 3)).copiesUp.map(({ size }) => size)).toEqual([1000, 1001, 1002]);
    expect((await look('', 1, [digestOf(0, 3), digestOf(1, 0)])).copiesUp.map(({ size }) => size)).toEqual([
      1002, 2000,
    ]);
    expect(await look('o0002')).toEqual({ copiesUp: [], examined: new Map(), end: undefined });
    expect(await copiesUpFrom(hosts.central.store.database, 'node2', '', 10, [])).toEqual({
      copiesUp: [],
      examined: new Map(),
      end: undefined,
    });
  });

  test('is read in parts if there are very many organizations, and a part reads no more rows than it needs', async () => {
    await announced(120, (organization) => (organization === 0 ? 3000 : 2));
    const first = await look();
    expect(first.copiesUp.map(({ organization }) => organization)).toEqual(
      Array.from({ length: 100 }, (_, o) => `o${String(o).padStart(4, '0')}`),
    );
    expect(first.end).toBe('o0099');
    resetCounts(hosts.central.counts);
    const second = await look(first.end);
    expect([second.copiesUp.length, second.end]).toEqual([40, undefined]);
    await look();
    expect(hosts.central.counts.rowsRead).toBeLessThan(4000);
  });

  test('reaches copies behind any number that are not due, and begins again at the first', async () => {
    await announced(2, (organization) => (organization === 0 ? 5200 : 3));
    const [due, late] = [digestOf(0, 0), digestOf(0, 5199)];
    await env.DB_CENTRAL.prepare(`DELETE FROM links WHERE repository = 'o0000/app' AND digest NOT IN (?1)`)
      .bind(due)
      .run();
    const queue = new DueBlobs({
      node: hosts.node1.store,
      central: hosts.central.store,
      now: () => hosts.now,
      graceMilliseconds: 0,
      limits: DEFAULT_LIMITS,
      state: new MemoryQueueState(),
    });
    const looked = async (except: readonly Digest[]): Promise<Digest[]> =>
      (await queue.look(except, ALWAYS)).map(({ digest }) => digest);
    const small = [0, 1, 2].map((i) => digestOf(1, i));
    expect((await looked([])).toSorted()).toEqual(small);
    expect(await looked(small)).toEqual([due]);
    expect(await looked([...small, due])).toEqual([]);
    await env.DB_CENTRAL.prepare(`INSERT INTO links (repository, digest, created_at) VALUES ('o0000/app', ?1, 0)`)
      .bind(late)
      .run();
    expect(await looked([...small, due])).toEqual([late]);
  });
});
