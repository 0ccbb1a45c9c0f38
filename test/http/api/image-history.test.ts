/** The history of a tag, and restoring an image from it; over HTTP, with the real queues. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { call, HOST, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { api, applyChangeLog, eventually, NODE1, NODE2, queue, startQueues, stopQueues } from '../../support/queues.ts';
import { at, digestAt, LATEST, pushTo, settled } from '../../support/replicated-image.ts';

beforeEach(startQueues);
afterEach(stopQueues);

describe('history', () => {
  test('lists the writes of all stores, including those that lost; a lost one can be restored', async () => {
    await queue('PATCH', '', { paused: true });
    const lost = await pushTo(NODE1, 1);
    const won = await putImage('alice/app', 5, ['latest']);
    await queue('PATCH', '', { paused: false });
    await settled();
    await eventually(
      () => digestAt(NODE1),
      (digest) => digest === won.digest,
    );
    for (const host of [HOST, NODE1, NODE2]) {
      const { body } = await api('GET', `${LATEST}/history`, at(host));
      expect(body).toMatchObject({
        history: [
          {
            digest: won.digest,
            origin: 'central',
            current: true,
            replaced_at: null,
            stores: expect.arrayContaining(['central', 'node1']),
          },
          {
            digest: lost.digest,
            origin: 'node1',
            current: false,
            replaced_at: expect.any(String),
            stores: expect.arrayContaining(['central']),
          },
        ],
      });
    }
    const { body } = await api('GET', `${LATEST}/history`, at(NODE2));
    const [, entry] = (body as { history: { version: number; origin: string }[] }).history;
    const put = { version: entry?.version, origin: entry?.origin };
    expect(await api('POST', `${LATEST}/restore`, { ...at(NODE2), body: put })).toMatchObject({
      status: 200,
      body: { digest: lost.digest, version: expect.any(Number) },
    });
    expect((await settled(NODE2)).body).toMatchObject({ digest: lost.digest, state: 'settled' });
    await applyChangeLog();
    for (const host of [HOST, NODE1, NODE2]) expect([host, await digestAt(host)]).toEqual([host, lost.digest]);
    const after = (await api('GET', `${LATEST}/history`, at(NODE1))).body as { history: { digest: string }[] };
    expect(after.history.map(({ digest }) => digest)).toEqual([lost.digest, won.digest, lost.digest]);
  });

  test("shows a tag's deletions to callers who cannot push, but no deleted manifest", async () => {
    const deleted = await pushTo(NODE1, 1);
    const kept = await pushTo(NODE1, 5);
    await settled();
    expect((await call('DELETE', `/v2/alice/app/manifests/${deleted.digest}`, at(NODE1))).status).toBe(202);
    expect((await call('DELETE', '/v2/alice/app/manifests/latest', at(NODE1))).status).toBe(202);
    const current = await pushTo(NODE1, 9);
    await settled();
    const publish = { as: 'alice', body: { visibility: 'public' } } as const;
    expect((await api('PATCH', 'organizations/alice/repositories/app', publish)).status).toBe(200);
    await applyChangeLog();
    const seen = async (as: UserName, host: string) => {
      const { body } = await api('GET', `${LATEST}/history`, { as, host });
      return (body as { history: { digest: string | null }[] }).history.map(({ digest }) => digest);
    };
    for (const host of [HOST, NODE1, NODE2]) {
      expect(await seen('alice', host)).toEqual([current.digest, null, kept.digest, deleted.digest]);
      for (const as of ['aliceReader', 'platform', 'bob', 'admin'] as const) {
        expect([as, await seen(as, host)]).toEqual([as, [current.digest, null, kept.digest]]);
      }
    }
  });

  test('restores a manifest as it was pushed, even if a push of it would be refused today', async () => {
    const old = await putImage('alice/app', 1, ['latest'], at(HOST));
    await putImage('alice/app', 5, ['latest'], at(HOST));
    // Berth became stricter between the push and the restore.
    const loosen = `UPDATE manifest_contents
      SET content = replace(content, '{"', '{"annotations":{"a":1},"SchemaVersion":"2","')`;
    await env.DB_CENTRAL.prepare(`${loosen} WHERE digest = ?1`).bind(old.digest).run();
    const read = async (): Promise<string> =>
      (await call('GET', `/v2/alice/app/manifests/${old.digest}`, at(HOST))).text();
    const before = await read();
    expect(before).toContain('"SchemaVersion":"2"');

    const { body } = await api('GET', `${LATEST}/history`, at(HOST));
    const { history } = body as { history: { version: number; origin: string; restorable: boolean }[] };
    const entry = history[1]!;
    expect(entry.restorable).toBe(true);
    const put = { version: entry.version, origin: entry.origin };
    expect(await api('POST', `${LATEST}/restore`, { ...at(HOST), body: put })).toMatchObject({
      status: 200,
      body: { digest: old.digest },
    });
    expect(await digestAt(HOST)).toBe(old.digest);
    expect(await read()).toBe(before);
  });

  test('does not restore an unknown entry, a deletion or a deleted manifest', async () => {
    const image = await pushTo(NODE1, 1);
    await settled();
    expect((await call('DELETE', `/v2/alice/app/manifests/latest`, at(NODE1))).status).toBe(202);
    expect((await call('DELETE', `/v2/alice/app/manifests/${image.digest}`, at(NODE1))).status).toBe(202);
    const { history } = (await api('GET', `${LATEST}/history`, at(NODE1))).body as {
      history: { version: number; origin: string; digest: string | null }[];
    };
    expect(history.map(({ digest }) => digest)).toEqual([null, image.digest]);
    const restore = async (body: object): Promise<number> =>
      (await api('POST', `${LATEST}/restore`, { ...at(NODE1), body })).status;
    for (const { version, origin } of history) expect(await restore({ version, origin })).toBe(409);
    expect(await restore({ version: 1, origin: 'node1' })).toBe(404);
    expect(await restore({ version: 'x', origin: 'node1' })).toBe(400);
    expect(await restore({})).toBe(400);
  });
});
