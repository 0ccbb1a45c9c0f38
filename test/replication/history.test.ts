/** A tag's history while a store is away: what the others know, and that it is not all. */
import { beforeEach, expect, test } from 'vitest';
import { addUsers } from '../support/client.ts';
import { REPOSITORY } from '../support/away.ts';
import { type Answered, type HostName, ThreeHosts } from '../support/three-hosts.ts';

const HISTORY = '/api/organizations/alice/repositories/app/images/latest';

interface History {
  readonly history: readonly { readonly version: number; readonly origin: string; readonly digest: string }[];
  readonly complete: boolean;
}

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function history(host: HostName): Promise<History> {
  const { status, bytes } = await hosts.call(host, 'GET', `${HISTORY}/history`);
  expect(status).toBe(200);
  return JSON.parse(new TextDecoder().decode(bytes)) as History;
}

function restore(host: HostName, entry: object): Promise<Answered> {
  const headers = { 'Content-Type': 'application/json' };
  return hosts.call(host, 'POST', `${HISTORY}/restore`, { headers, body: JSON.stringify(entry) });
}

test('is complete while all stores answer, and says so where one does not', async () => {
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

test('shows a write that a removal came after, with the removal, and the write is superseded', async () => {
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
    expect([host, removal]).toEqual([host, expect.objectContaining({ digest: null, origin: 'central', current: true })]);
    expect(writes[0]).toMatchObject({ version: written?.version, digest: late.digest, current: false });
    const { status, bytes } = await hosts.call(host, 'GET', `${HISTORY}?version=${written?.version}`);
    expect([host, status]).toEqual([host, 200]);
    expect(JSON.parse(new TextDecoder().decode(bytes))).toMatchObject({ state: 'superseded', digest: null, origin: 'central' });
  }
});

test('is 503 where no store answers', async () => {
  await hosts.push('node1', REPOSITORY, 1, 'latest');
  hosts.takeAway('central D1', 'node1 D1', 'node2 D1');
  expect((await hosts.call('node1', 'GET', `${HISTORY}/history`)).status).toBe(503);
});
