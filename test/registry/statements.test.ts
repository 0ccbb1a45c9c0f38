/**
 * The request that uses most statements: the push of a manifest at a node that has none of its blobs, while central has
 * all. D1 may end a request after 1,000.
 */
import { expect, test } from 'vitest';
import { MOST_PROMISED } from '../../src/registry/federated/blobs.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { bytesOf, bodyOf, contentDigest, imageOf, REPOSITORY } from '../support/fixture.ts';
import { putManifest } from '../support/collecting.ts';
import { openHosts } from '../support/hosts.ts';
import { countStatementsOf, type StatementCount } from '../support/statements.ts';

const MOST_STATEMENTS = 900;

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
  await expect(push()).rejects.toMatchObject({ kind: 'UNAVAILABLE', message: /150 of 160 blobs: send the manifest/ });
  expect(count.statements).toBeGreaterThan(MOST_STATEMENTS / 2);
  expect(count.statements).toBeLessThanOrEqual(MOST_STATEMENTS);
  await expect(push()).resolves.toBeGreaterThan(0);
});
