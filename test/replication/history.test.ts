/**
 * A tag's history: its pages are merged over all stores, its length is limited, and it is incomplete while a store is
 * away.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { addUsers, type UserName } from '../support/client.ts';
import { REPOSITORY } from '../support/away.ts';
import { type Answered, type HostName, ThreeHosts } from '../support/three-hosts.ts';

const HISTORY = '/api/organizations/alice/repositories/app/images/latest';

interface Entry {
  readonly version: number;
  readonly origin: string;
  readonly digest: string | null;
  readonly current: boolean;
  readonly restorable: boolean;
}

interface History {
  readonly history: readonly Entry[];
  readonly last: string | null;
  readonly complete: boolean;
}

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function history(host: HostName, query = '', as: UserName = 'alice'): Promise<History> {
  const { status, bytes } = await hosts.call(host, 'GET', `${HISTORY}/history${query}`, { as });
  expect(status).toBe(200);
  return JSON.parse(new TextDecoder().decode(bytes)) as History;
}

/** Returns all pages of `n` entries. */
async function pages(host: HostName, n: number): Promise<(readonly Entry[])[]> {
  const found: (readonly Entry[])[] = [];
  let last: string | null = '';
  do {
    const page: History = await history(host, `?n=${n}&last=${last}`);
    found.push(page.history);
    ({ last } = page);
  } while (last !== null);
  return found;
}

const keyOf = ({ version, origin }: Entry): string => `${version} ${origin}`;

function restore(host: HostName, entry: object): Promise<Answered> {
  const headers = { 'Content-Type': 'application/json' };
  return hosts.call(host, 'POST', `${HISTORY}/restore`, { headers, body: JSON.stringify(entry) });
}

test('a history is complete while all stores answer, and says so when one does not', async () => {
  const settled = await hosts.push('central', REPOSITORY, 1, 'latest');
  await hosts.drain();
  hosts.takeAway('queues');
  const waiting = await hosts.push('node1', REPOSITORY, 3, 'latest');
  const whole = await history('central');
  expect([whole.complete, whole.history.map(({ digest }) => digest)]).toEqual([true, [waiting.digest, settled.digest]]);

  hosts.takeAway('node1 D1');
  for (const host of ['central', 'node2'] as const) {
    const known = await history(host);
    expect([host, known.complete, known.history.map(({ digest }) => digest)]).toEqual([host, false, [settled.digest]]);
  }

  const { status, headers, code } = await restore('central', { version: whole.history[0]?.version, origin: 'node1' });
  expect([status, code, headers.get('Retry-After')]).toEqual([503, 'UNAVAILABLE', '5']);
  expect((await restore('central', { version: 1, origin: 'central' })).status).toBe(503);
  hosts.giveBack();
  expect((await restore('central', { version: 1, origin: 'central' })).status).toBe(404);
});

test('a history shows a write that a removal ended, and the removal; the write is superseded', async () => {
  await hosts.push('central', REPOSITORY, 1, 'latest');
  await hosts.drain();
  hosts.takeAway('queues');
  const late = await hosts.push('node1', REPOSITORY, 3, 'latest');
  const [written] = (await history('node1')).history;
  expect(written?.digest).toBe(late.digest);
  await new Promise((later) => setTimeout(later, 2));
  expect((await hosts.call('central', 'DELETE', '/api/organizations/alice/repositories/app')).status).toBe(204);
  hosts.giveBack();
  await hosts.drain();
  for (const host of ['central', 'node1'] as const) {
    const [removal, ...writes] = (await history(host)).history;
    expect([host, removal]).toEqual([
      host,
      expect.objectContaining({ digest: null, origin: 'central', current: true }),
    ]);
    expect(writes[0]).toMatchObject({ version: written?.version, digest: late.digest, current: false });
    const { status, bytes } = await hosts.call(host, 'GET', `${HISTORY}?version=${written?.version}`);
    expect([host, status]).toEqual([host, 200]);
    expect(JSON.parse(new TextDecoder().decode(bytes))).toMatchObject({
      state: 'superseded',
      digest: null,
      origin: 'central',
    });
  }
});

test('a history is 503 when central, which knows of removals, does not answer', async () => {
  await hosts.push('node1', REPOSITORY, 1, 'latest');
  hosts.takeAway('central D1');
  expect((await hosts.call('node1', 'GET', `${HISTORY}/history`)).status).toBe(503);
});

test('a history comes in pages, each merged over all stores', async () => {
  hosts.takeAway('queues');
  const pushed: string[] = [];
  for (const [i, host] of (['central', 'node1', 'node2', 'node1', 'central', 'node2', 'central'] as const).entries()) {
    pushed.push((await hosts.push(host, REPOSITORY, 10 * i, 'latest')).digest);
  }
  for (const drained of [false, true]) {
    if (drained) {
      hosts.giveBack();
      await hosts.drain();
    }
    for (const host of ['central', 'node1'] as const) {
      const whole = await history(host);
      expect([whole.last, whole.history.map(({ digest }) => digest).toSorted()]).toEqual([null, pushed.toSorted()]);
      const versions = whole.history.map(({ version }) => version);
      expect(versions).toEqual(versions.toSorted((a, b) => b - a));
      expect(whole.history.map(({ current }) => current)).toEqual(pushed.map((_, i) => i === 0));
      for (const n of [1, 2, 3, 7]) {
        const found = await pages(host, n);
        expect(found.map((page) => page.length)).toEqual(sizes(7, n));
        expect(found.flat()).toEqual(whole.history);
      }
    }
  }
  for (const bad of ['?n=0', '?last=x', '?last=1', '?last=a.b']) {
    expect([bad, (await hosts.call('central', 'GET', `${HISTORY}/history${bad}`)).status]).toEqual([bad, 400]);
  }
});

function sizes(count: number, n: number): number[] {
  return Array.from({ length: Math.ceil(count / n) }, (_, i) => Math.min(n, count - i * n));
}

test('a history keeps the configured number of entries: a push removes the others, and every entry that is shown can be restored', async () => {
  hosts = await ThreeHosts.open({ history_entries: 3 });
  const digests: string[] = [];
  for (let i = 0; i < 6; i++) digests.unshift((await hosts.push('central', REPOSITORY, 10 * i, 'latest')).digest);
  const kept = await env.DB_CENTRAL.prepare('SELECT digest FROM tag_history ORDER BY version DESC').all<{
    digest: string;
  }>();
  expect(kept.results.map(({ digest }) => digest)).toEqual(digests.slice(1, 4));
  await hosts.push('central', REPOSITORY, 0, 'other');
  const shown = (await history('central')).history;
  expect(shown.map(({ digest }) => digest)).toEqual(digests.slice(0, 4));
  // Each restoration is a push, which removes the oldest entry.
  for (const { version, origin, digest } of shown.toReversed()) {
    expect([digest, (await restore('central', { version, origin })).status]).toEqual([digest, 200]);
  }
});

test('a history never shows more entries than are kept, even before the others are removed', async () => {
  hosts = await ThreeHosts.open({ history_entries: 3, history_days: 2 });
  const { digest } = await hosts.push('central', REPOSITORY, 1, 'latest');
  const now = Date.now();
  const entries = [1, 2, 3, 4, 5].map(
    (i) => `('alice/app', 'latest', ${i}, 'central', '${digest}', ${now - (6 - i) * 80_000_000}, '')`,
  );
  await env.DB_CENTRAL.prepare(`INSERT INTO tag_history VALUES ${entries.join(', ')}`).run();
  expect((await history('central')).history.map(({ version }) => version).slice(1)).toEqual([5, 4]);
  await env.DB_CENTRAL.prepare('UPDATE tag_history SET recorded_at = ?1').bind(now).run();
  expect((await history('central')).history.map(({ version }) => version).slice(1)).toEqual([5, 4, 3]);
});

test('the fifth oldest of 600 entries is on a page, and can be restored', async () => {
  hosts = await ThreeHosts.open({ history_entries: 1000 });
  const { digest } = await hosts.push('central', REPOSITORY, 1, 'latest');
  await hosts.push('central', REPOSITORY, 3, 'latest');
  await env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 598)
     INSERT INTO tag_history SELECT 'alice/app', 'latest', i, 'central', ?1, ?2, '' FROM n`,
  )
    .bind(digest, Date.now())
    .run();
  const all = (await pages('node1', 250)).flat();
  expect([all.length, new Set(all.map(keyOf)).size]).toEqual([600, 600]);
  const fifth = all.at(-5);
  expect(fifth).toMatchObject({ version: 5, restorable: true });
  expect((await restore('node1', { version: 5, origin: 'central' })).status).toBe(200);
  expect(
    (await hosts.call('node1', 'HEAD', `/v2/${REPOSITORY}/manifests/latest`)).headers.get('Docker-Content-Digest'),
  ).toBe(digest);
});

test('a history marks deletions and deleted manifests as not restorable, and shows the latter only to callers who may push', async () => {
  const first = await hosts.push('central', REPOSITORY, 1, 'latest');
  const second = await hosts.push('central', REPOSITORY, 3, 'latest');
  await hosts.call('central', 'DELETE', `/v2/${REPOSITORY}/manifests/latest`);
  await hosts.call('central', 'DELETE', `/v2/${REPOSITORY}/manifests/${first.digest}`);
  await hosts.drain();
  for (const host of ['central', 'node1'] as const) {
    const { history: shown } = await history(host);
    expect(shown.map(({ digest, restorable }) => [digest, restorable])).toEqual([
      [null, false],
      [second.digest, true],
      [first.digest, false],
    ]);
    for (const { version, origin, restorable } of shown) {
      if (!restorable) expect((await restore(host, { version, origin })).status).toBe(409);
    }
    const toReader = await history(host, '', 'aliceReader');
    expect(toReader.history.map(({ digest }) => digest)).not.toContain(first.digest);
    expect(toReader.history.map(({ digest }) => digest)).toContain(second.digest);
  }
});
