/** The requests that use most statements. D1 may end a request after 1,000. */
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import { MOST_PROMISED } from '../../src/registry/federated/blobs.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { sweepAfterRemoval } from '../../src/registry/sweep.ts';
import { Database } from '../../src/stores/database.ts';
import { bytesOf, bodyOf, contentDigest, imageOf, REPOSITORY } from '../support/fixture.ts';
import { putManifest } from '../support/collecting.ts';
import { openHosts } from '../support/hosts.ts';
import { countStatementsOf, type StatementCount } from '../support/statements.ts';

const MOST_STATEMENTS = 900;

afterEach(() => void vi.restoreAllMocks());

test('a push of very many blobs that only central has goes on where the last one stopped', async () => {
  const count: StatementCount = { statements: 0 };
  const hosts = await openHosts({ reach: (database) => countStatementsOf(database, count) });
  const digests: Digest[] = [];
  for (let seed = 1; seed <= MOST_PROMISED + 10; seed++) {
    const bytes = bytesOf(seed, 10);
    digests.push(await contentDigest(bytes));
    await hosts.central.registry.putBlob(REPOSITORY, digests.at(-1)!, bodyOf(bytes));
  }
  const [config, ...layers] = digests;
  const image = await imageOf(config!, layers);
  count.statements = 0;
  const push = (): Promise<number> => putManifest(hosts.node1, image, ['latest']);
  await expect(push()).rejects.toMatchObject({ kind: 'UNAVAILABLE', message: /100 of 110 blobs: send the manifest/ });
  expect(count.statements).toBeGreaterThan(MOST_STATEMENTS / 2);
  expect(count.statements).toBeLessThanOrEqual(MOST_STATEMENTS);
  await expect(push()).resolves.toBeGreaterThan(0);
});

test('a sweep after a removal leaves the rest to maintenance if it would take too many statements', async () => {
  const rows = 'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)';
  await env.DB_CENTRAL.batch([
    env.DB_CENTRAL.prepare(
      `INSERT INTO links (repository, digest, created_at) ${rows} SELECT 'alice/app', 'sha256:' || i, 0 FROM n`,
    ),
    env.DB_CENTRAL.prepare("INSERT INTO removals VALUES ('alice/app', 1, 1, 0, '')"),
  ]);
  vi.spyOn(scheduler, 'wait').mockResolvedValue(undefined);
  const count: StatementCount = { statements: 0 };
  const deferred: Promise<unknown>[] = [];
  const database = new Database(countStatementsOf(env.DB_CENTRAL, count));
  await sweepAfterRemoval(database, REPOSITORY, (work) => void deferred.push(work));
  await Promise.all(deferred);
  expect(count.statements).toBeLessThanOrEqual(MOST_STATEMENTS);
  expect(await env.DB_CENTRAL.prepare('SELECT swept FROM removals').first('swept')).toBe(0);
  const left = await env.DB_CENTRAL.prepare('SELECT count(*) AS links FROM links').first<number>('links');
  expect(left).toBe(6000 - 41 * 100);
});
