/**
 * The operations that keep working while a part is away. Each row of the table is a part, and each column something
 * that a client does. The node is the one that an image was pushed to; elsewhere, the image has been announced. When a
 * node's store is away, central serves settled images.
 *
 * | away             | push to a node        | pull at the node     | pull elsewhere          | delete               |
 * | ---------------- | --------------------- | -------------------- | ----------------------- | -------------------- |
 * | central's D1     | works, in the outbox  | works                | if held there, else 503 | 503                  |
 * | central's R2     | works                 | works                | nodes' copies, else 503 | works                |
 * | the node's store | 503; works at central | if settled, else 503 | if settled, else 503    | works at central     |
 * | the queues       | works, in the outbox  | works                | works                   | works, late at nodes |
 *
 * Everything else is 503 with Retry-After, never 404, because clients believe a 404.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { addUsers } from '../support/client.ts';
import {
  all,
  announced,
  HOST_NAMES,
  outboxEntries,
  pulls,
  pathsOf,
  REPOSITORY,
  requireSettledEverywhere,
  settled,
  stateAt,
  wrongRefusal,
} from '../support/away.ts';
import { bytesOf, type Image } from '../support/fixture.ts';
import { type Answered, type HostName, type Part, ThreeHosts } from '../support/three-hosts.ts';

const NODE1 = ['node1 D1', 'node1 R2'] as const satisfies Part[];

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function deletions(host: HostName, image: Image): Promise<Answered[]> {
  const loose = `blobs/${await digestOf('sha256', LOOSE)}`;
  const answers = [];
  for (const path of [loose, 'manifests/other', `manifests/${image.digest}`]) {
    answers.push(await hosts.call(host, 'DELETE', `/v2/${REPOSITORY}/${path}`));
  }
  return answers;
}

/** A blob that no manifest references. */
const LOOSE = bytesOf(900, 50);

async function withLooseBlobAndTag(image: Image): Promise<void> {
  for (const host of HOST_NAMES) expect((await hosts.putBlob(host, REPOSITORY, LOOSE)).status).toBe(201);
  expect((await hosts.putManifest('node1', REPOSITORY, 'other', image)).status).toBe(201);
  await hosts.drain();
}

async function requireGoneAt(host: HostName, image: Image): Promise<void> {
  for (const reference of ['other', 'latest', image.digest]) {
    const answer = await hosts.call(host, 'GET', `/v2/${REPOSITORY}/manifests/${reference}`);
    expect([host, reference, answer.status, answer.code]).toEqual([host, reference, 404, 'MANIFEST_UNKNOWN']);
  }
}

describe("central's D1 is away", () => {
  test('a push to a node works, and waits in the outbox', async () => {
    hosts.takeAway('central D1');
    const image = await hosts.push('node1', REPOSITORY, 1, 'latest');
    await hosts.drain();
    expect(await outboxEntries()).toBe(1);
    expect(hosts.queueOf('node1').state.parkedCount()).toBe(0);
    await requireSettledEverywhere(hosts, image);
    expect(await outboxEntries()).toBe(0);
  });

  test('a pull at the node works, announced or not', async () => {
    const old = await announced(hosts, 1, 'old');
    hosts.takeAway('central D1');
    const image = await hosts.push('node1', REPOSITORY, 3, 'latest');
    expect(await pulls(hosts, 'node1', old, 'old')).toEqual(all(old, 200));
    expect(await pulls(hosts, 'node1', image)).toEqual(all(image, 200));
  });

  test('a pull elsewhere works at a node that has copied it down, else it is 503', async () => {
    const [copied, other] = [await settled(hosts, 1, 'copied'), await settled(hosts, 3, 'other')];
    expect(await pulls(hosts, 'node2', copied, 'copied')).toEqual(all(copied, 200));
    await hosts.drain();
    hosts.takeAway('central D1');
    expect(await pulls(hosts, 'node2', copied, 'copied')).toEqual(all(copied, 200));
    expect(await pulls(hosts, 'node2', other, 'other')).toEqual(all(other, 503));
    for (const [image, tag] of [
      [copied, 'copied'],
      [other, 'other'],
    ] as const) {
      expect(await pulls(hosts, 'central', image, tag)).toEqual(all(image, 503));
    }
  });

  test('a deletion is 503 at a node and at central, and nothing is gone', async () => {
    const image = await settled(hosts, 1);
    await withLooseBlobAndTag(image);
    hosts.takeAway('central D1');
    for (const host of HOST_NAMES) {
      for (const answer of await deletions(host, image))
        expect([host, wrongRefusal(answer)]).toEqual([host, undefined]);
    }
    await requireSettledEverywhere(hosts, image);
    await requireSettledEverywhere(hosts, image, { tag: 'other' });
  });
});

describe("central's R2 is away", () => {
  test('a push to a node works, is announced, and settles later; central refuses pushes', async () => {
    hosts.takeAway('central R2');
    const image = await hosts.push('node1', REPOSITORY, 1, 'latest');
    await hosts.drain();
    expect([await outboxEntries(), await stateAt(hosts, 'node1'), hosts.queueOf('node1').state.parkedCount()]).toEqual([
      0,
      'announced',
      0,
    ]);
    expect(wrongRefusal(await hosts.putBlob('central', REPOSITORY, LOOSE))).toBeUndefined();
    await requireSettledEverywhere(hosts, image);
  });

  test('a pull at the node works', async () => {
    const image = await settled(hosts, 1);
    hosts.takeAway('central R2');
    expect(await pulls(hosts, 'node1', image)).toEqual(all(image, 200));
  });

  test("a pull elsewhere uses the node's location, settled or not", async () => {
    const old = await settled(hosts, 1, 'old');
    hosts.takeAway('central R2');
    const image = await announced(hosts, 3);
    for (const host of ['central', 'node2'] as const) {
      expect([host, await pulls(hosts, host, image)]).toEqual([host, all(image, 200)]);
      expect([host, await pulls(hosts, host, old, 'old')]).toEqual([host, all(old, 200)]);
    }
  });

  test('a pull elsewhere is 503 for bytes that only central has', async () => {
    const image = await settled(hosts, 1);
    await hosts.evict('node1', image.manifest.requiredBlobs);
    hosts.takeAway('central R2');
    for (const host of ['node1', 'node2'] as const) {
      // The manifest's rows are there, so it can be read.
      expect([host, await pulls(hosts, host, image)]).toEqual([host, [200, 200, 200, 200, 503, 503, 503, 503]]);
    }
    for (const digest of image.manifest.requiredBlobs) {
      const answer = await hosts.call('central', 'GET', `/v2/${REPOSITORY}/blobs/${digest}`);
      expect(wrongRefusal(answer)).toBeUndefined();
    }
    await requireSettledEverywhere(hosts, image);
  });

  test.each(['central', 'node1', 'node2'] as const)('a deletion works at %s', async (host) => {
    const image = await settled(hosts, 1);
    await withLooseBlobAndTag(image);
    hosts.takeAway('central R2');
    for (const answer of await deletions(host, image)) expect([answer.status, answer.code]).toEqual([202, undefined]);
    await hosts.announce();
    for (const each of HOST_NAMES) await requireGoneAt(each, image);
  });
});

describe("the node's store is away", () => {
  test('a push to the node is 503 with Retry-After at every step, and central takes it', async () => {
    const image = await settled(hosts, 1);
    const opened = await hosts.call('node1', 'POST', `/v2/${REPOSITORY}/blobs/uploads/`);
    expect(opened.status).toBe(202);
    hosts.takeAway(...NODE1);
    const location = opened.headers.get('Location') ?? '';
    const digest = await digestOf('sha256', LOOSE);
    const steps = [
      await hosts.call('node1', 'PATCH', location, { body: LOOSE }),
      await hosts.call('node1', 'PUT', `${location}?digest=${digest}`, { body: LOOSE }),
      await hosts.putBlob('node1', REPOSITORY, LOOSE),
      await hosts.putManifest('node1', REPOSITORY, 'again', image),
      await hosts.call('node1', 'POST', `/v2/${REPOSITORY}/blobs/uploads/?mount=${digest}&from=alice/other`),
    ];
    expect(steps.map(wrongRefusal)).toEqual(steps.map(() => undefined));
    const other = await hosts.push('central', REPOSITORY, 5, 'other');
    expect(await pulls(hosts, 'central', other, 'other')).toEqual(all(other, 200));
    await requireSettledEverywhere(hosts, image);
  });

  test('a pull at the node uses central, if settled, else it is 503', async () => {
    const [old, image] = [await settled(hosts, 1, 'old'), await announced(hosts, 3)];
    hosts.takeAway(...NODE1);
    for (const host of ['node1', 'central'] as const) {
      expect(await pulls(hosts, host, old, 'old')).toEqual(all(old, 200));
      expect(await pulls(hosts, host, image)).toEqual([200, 200, 200, 200, 503, 503, 503, 503]);
    }
    await requireSettledEverywhere(hosts, image);
  });

  test("a pull at the node uses central's bytes when only its bucket is away, if settled, else it is 503", async () => {
    const [old, image] = [await settled(hosts, 1, 'old'), await announced(hosts, 3)];
    hosts.takeAway('node1 R2');
    for (const [path, status] of [
      ...pathsOf(old, 'old').map((each) => [each, 200] as const),
      ...image.manifest.requiredBlobs.map((digest) => [`/v2/${REPOSITORY}/blobs/${digest}`, 503] as const),
    ]) {
      const answer = await hosts.call('node1', 'GET', path);
      expect([path, answer.status, wrongRefusal(answer) === undefined]).toEqual([path, status, status === 503]);
    }
  });

  test('a pull elsewhere uses central, if settled, else it is 503', async () => {
    const [old, image] = [await settled(hosts, 1, 'old'), await announced(hosts, 3)];
    hosts.takeAway(...NODE1);
    expect(await pulls(hosts, 'node2', old, 'old')).toEqual(all(old, 200));
    expect(await pulls(hosts, 'node2', image)).toEqual([200, 200, 200, 200, 503, 503, 503, 503]);
    await requireSettledEverywhere(hosts, image);
  });

  test('a deletion is 503 at the node, works at central and at the other node, and reaches the node later', async () => {
    const image = await settled(hosts, 1);
    await withLooseBlobAndTag(image);
    hosts.takeAway(...NODE1);
    for (const answer of await deletions('node1', image)) expect(wrongRefusal(answer)).toBeUndefined();
    expect((await hosts.call('node2', 'DELETE', `/v2/${REPOSITORY}/manifests/other`)).status).toBe(202);
    expect((await deletions('central', image)).map(({ status }) => status)).toEqual([202, 404, 202]);
    hosts.giveBack();
    await hosts.drain();
    for (const host of HOST_NAMES) await requireGoneAt(host, image);
  });
});

describe('the queues are away', () => {
  test('a push to a node works, and waits in the outbox', async () => {
    hosts.takeAway('queues');
    const image = await hosts.push('node1', REPOSITORY, 1, 'latest');
    expect([await outboxEntries(), await stateAt(hosts, 'node1')]).toEqual([1, 'pending']);
    expect(await pulls(hosts, 'node1', image)).toEqual(all(image, 200));
    await requireSettledEverywhere(hosts, image);
  });

  test('a pull at the node works', async () => {
    const image = await announced(hosts, 1);
    hosts.takeAway('queues');
    expect(await pulls(hosts, 'node1', image)).toEqual(all(image, 200));
  });

  test('a pull elsewhere works, but is not copied down', async () => {
    const [old, image] = [await settled(hosts, 1, 'old'), await announced(hosts, 3)];
    hosts.takeAway('queues');
    for (const host of ['central', 'node2'] as const) {
      expect([host, await pulls(hosts, host, image)]).toEqual([host, all(image, 200)]);
      expect([host, await pulls(hosts, host, old, 'old')]).toEqual([host, all(old, 200)]);
    }
    expect(hosts.queueOf('node2').state.copyDownCount()).toBe(0);
  });

  test('a deletion works, and reaches nodes later', async () => {
    const image = await settled(hosts, 1);
    await withLooseBlobAndTag(image);
    expect(await pulls(hosts, 'node2', image)).toEqual(all(image, 200));
    await hosts.drain();
    hosts.takeAway('queues');
    for (const { status, code } of await deletions('node1', image)) expect([status, code]).toEqual([202, undefined]);
    for (const host of ['central', 'node1'] as const) await requireGoneAt(host, image);
    // A read by tag also asks central. Manifests that node2 holds stay readable by digest until it knows of the
    // deletion.
    const read = async (reference: string): Promise<number> =>
      (await hosts.call('node2', 'GET', `/v2/${REPOSITORY}/manifests/${reference}`)).status;
    expect([await read('latest'), await read('other'), await read(image.digest)]).toEqual([404, 404, 200]);
    hosts.giveBack();
    await hosts.drain();
    await requireGoneAt('node2', image);
  });
});
