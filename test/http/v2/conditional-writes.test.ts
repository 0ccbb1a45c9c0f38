/** If-Match and If-None-Match on PUT and DELETE (RFC 9110 §13), at central and at a node. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addCredentials, addUsers, basic, type NewUser } from '../../support/client.ts';
import { bytesOf, contentDigest, type Image, indexOf, snapshotWithoutUse } from '../../support/fixture.ts';
import { type Answered, type HostName, ThreeHosts } from '../../support/three-hosts.ts';

const BLIND: NewUser = {
  kind: 'organization',
  name: 'blind',
  password: 'blind-secret',
  organization: 'alice',
  rights: ['push', 'delete'],
};

let hosts: ThreeHosts;
beforeEach(async () => {
  await addUsers();
  await addCredentials([BLIND]);
  hosts = await ThreeHosts.open();
});

const MANIFESTS = '/v2/alice/app/manifests';
const OTHER = `sha256:${'0'.repeat(64)}`;

const imageWith = (note: string): Promise<Image> => indexOf([], { annotations: { note } });

function put(
  host: HostName,
  reference: string,
  { bytes, manifest }: Image,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const all = { 'Content-Type': manifest.mediaType, ...headers };
  return hosts.call(host, 'PUT', `${MANIFESTS}/${reference}`, { headers: all, body: bytes });
}

async function digestAt(host: HostName, reference: string): Promise<string | null> {
  return (await hosts.call(host, 'HEAD', `${MANIFESTS}/${reference}`)).headers.get('Docker-Content-Digest');
}

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  test('PUT with If-Match moves a tag only from the named manifest', async () => {
    const [first, second, third] = [await imageWith('1'), await imageWith('2'), await imageWith('3')];
    expect((await put(host, 'latest', first, { 'If-Match': `"${first.digest}"` })).status).toBe(412);
    await put(host, 'latest', first);
    expect((await put(host, 'latest', second, { 'If-Match': `"${OTHER}", "${first.digest}"` })).status).toBe(201);
    const refused = await put(host, 'latest', third, { 'If-Match': `"${first.digest}"` });
    expect([refused.status, refused.code]).toEqual([412, 'DENIED']);
    expect(await digestAt(host, 'latest')).toBe(second.digest);
    expect((await put(host, 'latest', third, { 'If-Match': '*' })).status).toBe(201);
    expect((await put(host, 'other', third, { 'If-Match': '*' })).status).toBe(412);
  });

  test('PUT with If-None-Match: * only creates; with a digest it fails if the tag names that manifest', async () => {
    const [first, second] = [await imageWith('1'), await imageWith('2')];
    expect((await put(host, 'latest', first, { 'If-None-Match': '*' })).status).toBe(201);
    expect((await put(host, 'latest', second, { 'If-None-Match': '*' })).status).toBe(412);
    expect((await put(host, second.digest, second, { 'If-None-Match': '*' })).status).toBe(201);
    expect((await put(host, `${second.digest}?tag=new`, second, { 'If-None-Match': '*' })).status).toBe(412);
    expect((await put(host, 'latest', first, { 'If-None-Match': `W/"${first.digest}"` })).status).toBe(412);
    expect((await put(host, 'latest', second, { 'If-None-Match': first.digest })).status).toBe(412);
    expect((await put(host, 'latest', second, { 'If-None-Match': `"${OTHER}"` })).status).toBe(201);
    await hosts.call(host, 'DELETE', `${MANIFESTS}/latest`);
    expect((await put(host, 'latest', first, { 'If-None-Match': '*' })).status).toBe(201);
  });

  test('a refused PUT changes nothing', async () => {
    await put(host, 'latest', await imageWith('1'));
    await hosts.drain();
    const before = await snapshotWithoutUse();
    expect((await put(host, 'latest', await imageWith('2'), { 'If-None-Match': '*' })).status).toBe(412);
    expect(await snapshotWithoutUse()).toBe(before);
  });

  test('DELETE with If-Match deletes only the named manifest; a missing one is 404', async () => {
    const [first, second] = [await imageWith('1'), await imageWith('2')];
    await put(host, 'latest', first);
    const remove = async (reference: string, headers: Record<string, string>) =>
      (await hosts.call(host, 'DELETE', `${MANIFESTS}/${reference}`, { headers })).status;
    expect(await remove('latest', { 'If-Match': `"${second.digest}"` })).toBe(412);
    expect(await remove('latest', { 'If-Match': `W/"${first.digest}"` })).toBe(412);
    expect(await remove('latest', { 'If-None-Match': `"${first.digest}"` })).toBe(412);
    expect(await remove(first.digest, { 'If-Match': `"${second.digest}"` })).toBe(412);
    expect(await digestAt(host, 'latest')).toBe(first.digest);
    expect(await remove('missing', { 'If-Match': '*' })).toBe(404);
    expect(await remove(second.digest, { 'If-Match': '*' })).toBe(404);
    expect(await remove('latest', { 'If-Match': `"${first.digest}"` })).toBe(202);
    expect(await remove(first.digest, { 'If-Match': '*' })).toBe(202);
    expect(await digestAt(host, first.digest)).toBeNull();
  });

  test('DELETE of a manifest reads none of its tags if the precondition fails', async () => {
    const image = await imageWith('1');
    await put(host, 'latest', image);
    const database = host === 'central' ? env.DB_CENTRAL : env.DB_NODE1!;
    await database
      .prepare(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO tags SELECT t.repository, 'more' || i, t.digest, t.version, t.origin, 1, '' FROM n, tags t`,
      )
      .run();
    const before = hosts.counts[host].rowsRead;
    const headers = { 'If-Match': `"${OTHER}"` };
    expect((await hosts.call(host, 'DELETE', `${MANIFESTS}/${image.digest}`, { headers })).status).toBe(412);
    expect(hosts.counts[host].rowsRead - before).toBeLessThan(200);
    expect((await hosts.call(host, 'DELETE', `${MANIFESTS}/${image.digest}`)).status).toBe(202);
    expect((await hosts.call(host, 'GET', `${MANIFESTS}/more1`)).status).toBe(404);
  });

  test('a refusal does not reveal the current manifest, because its client may lack the right to read', async () => {
    const image = await imageWith('1');
    await put(host, 'latest', image);
    const as = { authorization: basic(BLIND) };
    const reference = `${MANIFESTS}/latest`;
    expect((await hosts.call(host, 'GET', reference, { as })).status).toBe(403);
    const headers = { 'Content-Type': image.manifest.mediaType, 'If-Match': `"${OTHER}"` };
    for (const [method, body] of [
      ['PUT', (await imageWith('2')).bytes],
      ['DELETE', null],
    ] as const) {
      const { status, bytes, headers: answered } = await hosts.call(host, method, reference, { as, headers, body });
      expect([method, status]).toEqual([method, 412]);
      expect(`${new TextDecoder().decode(bytes)} ${JSON.stringify([...answered])}`).not.toContain(image.digest);
    }
  });

  test('of many requests that create a tag at once, one succeeds', async () => {
    const images = await Promise.all(Array.from({ length: 8 }, (_, i) => imageWith(String(i))));
    const answers = await Promise.all(images.map((image) => put(host, 'latest', image, { 'If-None-Match': '*' })));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 412, 412, 412, 412, 412, 412, 412]);
    const created = images[answers.findIndex(({ status }) => status === 201)];
    expect(await digestAt(host, 'latest')).toBe(created?.digest);
  });

  test('of many requests that move a tag from the same manifest at once, one succeeds', async () => {
    const first = await imageWith('first');
    await put(host, 'latest', first);
    const images = await Promise.all(Array.from({ length: 8 }, (_, i) => imageWith(String(i))));
    const answers = await Promise.all(
      images.map((image) => put(host, 'latest', image, { 'If-Match': `"${first.digest}"` })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(7);
  });

  test('DELETE of a blob with an If-Match of another digest is 412', async () => {
    const digest = await contentDigest(bytesOf(1, 10));
    await hosts.putBlob(host, 'alice/app', bytesOf(1, 10));
    const remove = async (named: string, headers: Record<string, string>) =>
      (await hosts.call(host, 'DELETE', `/v2/alice/app/blobs/${named}`, { headers })).status;
    expect(await remove(digest, { 'If-Match': `"${OTHER}"` })).toBe(412);
    expect(await remove(OTHER, { 'If-Match': `"${digest}"` })).toBe(404);
    expect(await remove(digest, { 'If-Match': `"${digest}"` })).toBe(202);
  });

  test.each(['POST', 'PUT', 'mount'] as const)(
    'a conditional upload by %s depends on whether the repository has the blob',
    async (way) => {
      const bytes = bytesOf(1, 10);
      const digest = await contentDigest(bytes);
      const uploads = '/v2/alice/app/blobs/uploads/';
      await hosts.putBlob(host, 'alice/source', bytes);
      const send = async (headers: Record<string, string>): Promise<readonly [number, string | undefined]> => {
        const answered =
          way === 'mount'
            ? await hosts.call(host, 'POST', `${uploads}?mount=${digest}&from=alice/source`, { headers })
            : way === 'POST'
              ? await hosts.call(host, 'POST', `${uploads}?digest=${digest}`, { headers, body: bytes })
              : await hosts.call(host, 'PUT', `${await openUpload()}?digest=${digest}`, { headers, body: bytes });
        return [answered.status, answered.code];
      };
      const openUpload = async (): Promise<string> =>
        (await hosts.call(host, 'POST', uploads)).headers.get('Location') ?? '';
      expect(await send({ 'If-Match': '*' })).toEqual([412, 'DENIED']);
      expect(await send({ 'If-None-Match': '*' })).toEqual([201, undefined]);
      expect(await send({ 'If-None-Match': '*' })).toEqual([412, 'DENIED']);
      expect(await send({ 'If-None-Match': `"${digest}"` })).toEqual([412, 'DENIED']);
      expect(await send({ 'If-Match': `"${OTHER}"` })).toEqual([412, 'DENIED']);
      expect(await send({ 'If-Match': `"${digest}"` })).toEqual([201, undefined]);
      expect(await send({})).toEqual([201, undefined]);
    },
  );

  test('a refused upload stays open, and can be closed without the condition', async () => {
    const bytes = bytesOf(1, 10);
    const digest = await contentDigest(bytes);
    await hosts.putBlob(host, 'alice/app', bytes);
    const { headers } = await hosts.call(host, 'POST', '/v2/alice/app/blobs/uploads/');
    const location = headers.get('Location') ?? '';
    const { status, headers: chunked } = await hosts.call(host, 'PATCH', location, { body: bytes });
    expect(status).toBe(202);
    const close = `${chunked.get('Location')}?digest=${digest}`;
    expect((await hosts.call(host, 'PUT', close, { headers: { 'If-None-Match': '*' } })).status).toBe(412);
    expect((await hosts.call(host, 'PUT', close)).status).toBe(201);
  });
});

describe('a node judges by the merged state of itself and central:', () => {
  test('a tag that only central has counts as existing', async () => {
    const [first, second] = [await imageWith('1'), await imageWith('2')];
    await put('central', 'latest', first);
    expect((await put('node1', 'latest', second, { 'If-None-Match': '*' })).status).toBe(412);
    expect((await put('node1', 'latest', second, { 'If-Match': `"${first.digest}"` })).status).toBe(201);
    expect(await digestAt('node1', 'latest')).toBe(second.digest);
  });

  test("once central has moved a tag, an If-Match with the node's older manifest fails", async () => {
    const [first, second, third] = [await imageWith('1'), await imageWith('2'), await imageWith('3')];
    await put('node1', 'latest', first);
    await hosts.drain();
    await put('central', 'latest', second);
    const remove = async (digest: string) =>
      (await hosts.call('node1', 'DELETE', `${MANIFESTS}/latest`, { headers: { 'If-Match': `"${digest}"` } })).status;
    expect((await put('node1', 'latest', third, { 'If-Match': `"${first.digest}"` })).status).toBe(412);
    expect(await remove(first.digest)).toBe(412);
    expect(await remove(second.digest)).toBe(202);
  });

  test('without central, the node does not assume that a tag or blob is absent', async () => {
    await put('node1', 'here', await imageWith('1'));
    hosts.takeAway('central D1');
    expect((await put('node1', 'latest', await imageWith('1'), { 'If-None-Match': '*' })).status).toBe(503);
    expect((await put('node1', 'latest', await imageWith('1'))).status).toBe(201);
    const bytes = bytesOf(2, 10);
    const path = `/v2/alice/app/blobs/uploads/?digest=${await contentDigest(bytes)}`;
    const send = async (headers: Record<string, string>) =>
      (await hosts.call('node1', 'POST', path, { headers, body: bytes })).status;
    expect(await send({ 'If-None-Match': '*' })).toBe(503);
    expect(await send({})).toBe(201);
  });
});
