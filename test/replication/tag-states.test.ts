/** The states of tags at each store, asked over HTTP, while pushes move on step by step. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { copyUpJob, outboxEntryJob } from '../../src/replication/machine.ts';
import { REPOSITORY } from '../support/away.ts';
import { addUsers } from '../support/client.ts';
import { resetCounts } from '../support/counting.ts';
import { type HostName, ThreeHosts } from '../support/three-hosts.ts';

const PARKED = { attempts: 12, nextAt: 0, parked: true, error: 'it failed' };

interface Page {
  readonly tags: readonly {
    readonly name: string;
    readonly digest: string;
    readonly size: number | null;
    readonly pulled_at: string | null;
    readonly states: readonly { readonly store: string; readonly state: string }[];
  }[];
  readonly stores: readonly { readonly store: string; readonly answers: boolean }[];
  readonly last: string | null;
}

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function tags(query = '', host: HostName = 'central'): Promise<Page> {
  const answer = await hosts.call(host, 'GET', `/api/organizations/alice/repositories/app/tags${query}`);
  expect(answer.status).toBe(200);
  return JSON.parse(new TextDecoder().decode(answer.bytes)) as Page;
}

/** Returns the states of a tag at central, node1 and node2. */
async function statesOf(name = 'latest'): Promise<string[] | undefined> {
  const tag = (await tags()).tags.find((each) => each.name === name);
  return tag?.states.map(({ state }) => state);
}

function pause(): void {
  hosts.queueOf('node1').state.setPaused(true);
}

function resume(): void {
  hosts.queueOf('node1').state.setPaused(false);
}

test('an image was last pulled in the latest hour that any store noted', async () => {
  const { digest } = await hosts.push('central', REPOSITORY, 1, 'latest');
  await hosts.call('node1', 'GET', `/v2/${REPOSITORY}/manifests/latest`);
  await hosts.drain();
  const pulled = (database: D1Database, hour: number): Promise<unknown> =>
    database.prepare('UPDATE manifests SET last_pull = ?1 WHERE digest = ?2').bind(hour, digest).run();
  await pulled(env.DB_CENTRAL, Date.UTC(2026, 10, 30, 11));
  await pulled(env.DB_NODE1!, Date.UTC(2026, 10, 30, 12));
  expect((await tags()).tags.map((tag) => tag.pulled_at)).toEqual(['2026-11-30T12:00:00.000Z']);
});

describe('a push to a node', () => {
  test('is pending there, then announced at central, then settled', async () => {
    pause();
    const { digest } = await hosts.push('node1', REPOSITORY, 1, 'latest');
    expect(await tags()).toEqual({
      tags: [
        {
          name: 'latest',
          digest,
          pushed_at: expect.any(String),
          origin: 'node1',
          size: 100,
          kind: '',
          platforms: [],
          pulled_at: null,
          states: [
            { store: 'central', state: 'absent' },
            { store: 'node1', state: 'pending' },
            { store: 'node2', state: 'absent' },
          ],
        },
      ],
      stores: ['central', 'node1', 'node2'].map((store) => ({ store, answers: true })),
      last: null,
    });
    resume();
    await hosts.announce();
    expect(await statesOf()).toEqual(['announced', 'settled', 'absent']);
    await hosts.drain();
    expect(await statesOf()).toEqual(['settled', 'settled', 'absent']);
  });

  test('is parked at the node if its announcement is', async () => {
    pause();
    const { digest } = await hosts.push('node1', REPOSITORY, 1, 'latest');
    const version = (await env.DB_NODE1!.prepare('SELECT version FROM outbox').first<number>('version'))!;
    const job = outboxEntryJob({ kind: 'manifest', repository: REPOSITORY as never, key: digest, version });
    hosts.queueOf('node1').state.setJob(job, PARKED);
    expect(await statesOf()).toEqual(['absent', 'parked', 'absent']);
  });

  test('is parked at central if a copy of its bytes is', async () => {
    const { manifest } = await hosts.push('node1', REPOSITORY, 1, 'latest');
    await hosts.announce();
    hosts.queueOf('node1').state.setJob(copyUpJob(manifest.requiredBlobs[1]!), PARKED);
    expect(await statesOf()).toEqual(['parked', 'settled', 'absent']);
  });

  test('is superseded there once another write has won', async () => {
    await hosts.push('node1', REPOSITORY, 1, 'latest');
    await hosts.drain();
    await hosts.push('central', REPOSITORY, 5, 'latest');
    expect(await statesOf()).toEqual(['settled', 'superseded', 'absent']);
  });
});

test('a node that pulls has the image, and all of it once its bytes are copied', async () => {
  const { digest, manifest } = await hosts.push('central', REPOSITORY, 1, 'latest');
  await hosts.call('node2', 'GET', `/v2/${REPOSITORY}/manifests/latest`);
  expect(await statesOf()).toEqual(['settled', 'absent', 'announced']);
  for (const blob of manifest.requiredBlobs) await hosts.call('node2', 'GET', `/v2/${REPOSITORY}/blobs/${blob}`);
  await hosts.drain();
  expect(await statesOf()).toEqual(['settled', 'absent', 'settled']);
  expect((await hosts.call('central', 'DELETE', `/v2/${REPOSITORY}/manifests/${digest}`)).status).toBe(202);
  expect((await tags()).tags).toEqual([]);
});

test('a blob that central lost is lacking there', async () => {
  const { manifest } = await hosts.push('central', REPOSITORY, 1, 'latest');
  const damage = env.DB_CENTRAL.prepare("UPDATE locations SET damage = 'missing' WHERE digest = ?1");
  await damage.bind(manifest.requiredBlobs[0]).run();
  expect(await statesOf()).toEqual(['announced', 'absent', 'absent']);
});

test('a tag that was deleted at central is no longer listed, even if a node has yet to hear of it', async () => {
  await hosts.push('node1', REPOSITORY, 1, 'latest');
  await hosts.drain();
  await env.DB_CENTRAL.prepare('UPDATE tags SET digest = NULL, visible = 0, version = version + 1').run();
  expect((await tags()).tags).toEqual([]);
});

test('without a node, the page comes and says so; without central, which knows of removals, there is no page', async () => {
  await hosts.push('node1', REPOSITORY, 1, 'latest');
  await hosts.drain();
  // The hosts remember the credential from here on.
  for (const host of ['central', 'node1'] as const) await tags('', host);
  hosts.takeAway('node1 D1');
  const page = await tags();
  expect(page.stores).toContainEqual({ store: 'node1', answers: false });
  expect(page.tags[0]?.states).toContainEqual({ store: 'node1', state: 'unknown' });
  expect(page.tags[0]?.states).toContainEqual({ store: 'central', state: 'settled' });
  hosts.giveBack();
  hosts.takeAway('central D1');
  const { status } = await hosts.call('node1', 'GET', '/api/organizations/alice/repositories/app/tags');
  expect(status).toBe(503);
});

test('pages follow each other through the tags of all stores, with at most three round trips to each', async () => {
  pause();
  await hosts.push('central', REPOSITORY, 1, 'b');
  await hosts.push('node1', REPOSITORY, 1, 'a');
  await hosts.push('node2', REPOSITORY, 1, 'c');
  const names: string[] = [];
  let last: string | null = '';
  do {
    for (const counts of Object.values(hosts.counts)) resetCounts(counts);
    const page: Page = await tags(`?n=1&last=${last}`, 'node2');
    names.push(...page.tags.map(({ name }) => name));
    ({ last } = page);
    for (const store of ['central', 'node1'] as const) expect(hosts.counts[store].d1).toBeLessThanOrEqual(3);
  } while (last !== null);
  expect(names).toEqual(['a', 'b', 'c']);
});

test('nothing is claimed of an image with 300 descriptors or more', async () => {
  await hosts.push('central', REPOSITORY, 1, 'latest');
  const series = JSON.stringify(Array.from({ length: 300 }, (_, i) => i));
  await env.DB_CENTRAL.prepare(
    `UPDATE manifests SET descriptors = (
       SELECT json_group_array(json_object('kind', 'layer', 'digest', 'sha256:' || value, 'size', 1))
       FROM json_each(?1))`,
  )
    .bind(series)
    .run();
  expect(await statesOf()).toEqual(['unknown', 'absent', 'absent']);
});
