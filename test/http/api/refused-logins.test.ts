/** Refused logins in the audit log: how they are counted, and that they reveal nothing. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlData } from '../../../src/stores/organizations/control-data.ts';
import { Database } from '../../../src/stores/database.ts';
import { type Entry, log } from '../../support/audit-log.ts';
import { basic, call, type UserName } from '../../support/client.ts';
import { applyChangeLog, eventually, NODE1, startQueues, stopQueues } from '../../support/queues.ts';
import { workerWith } from '../../support/worker-with.ts';

beforeEach(startQueues);
afterEach(stopQueues);

describe('refused logins in the audit log', () => {
  const guess = async (name: string, address: string, host?: string): Promise<void> => {
    const as = { authorization: basic({ name, password: 'a-wrong-guess' }) };
    const headers = { 'CF-Connecting-IP': address };
    const response = await call('GET', '/token', { as, headers, ...(host !== undefined && { host }) });
    expect(response.status).toBe(401);
  };
  const refusals = async (as: UserName = 'admin', path = 'audit'): Promise<Entry[]> =>
    (await log(as, path)).entries.filter(({ action }) => action === 'refuse login');
  const total = (entries: readonly Entry[]): number => entries.reduce((sum, { count }) => sum + count, 0);

  /**
   * Sends the management API a GET that it refuses, and returns the keys under which the refusal was counted for a
   * user.
   */
  async function countsOf(value: string): Promise<string[]> {
    const keys: string[] = [];
    const CREDENTIAL_CHECKS: RateLimit = { limit: async ({ key }) => ({ success: keys.push(key) > 0 }) };
    const as = { authorization: `Bearer ${value}` };
    const headers = { 'CF-Connecting-IP': '198.51.100.30' };
    const fetcher = workerWith({ CREDENTIAL_CHECKS });
    expect((await call('GET', '/api/organizations', { as, headers, fetcher })).status).toBe(401);
    return keys;
  }

  test('count a wrong whole token once, for its user, and not as a guess of the bootstrap secret', async () => {
    expect(await countsOf(btoa('alice:a-wrong-guess'))).toHaveLength(1);
    expect((await refusals()).map(({ key, count }) => [key, count])).toEqual([['alice', 1]]);
  });

  test('do not count an access token, which the management API refuses, as a guess of the bootstrap secret', async () => {
    const answer = await (await call('GET', '/token', { as: 'alice' })).json<{ token: string }>();
    expect(await countsOf(answer.token)).toHaveLength(1);
    expect(await refusals()).toEqual([]);
    expect(await countsOf('a-wrong.bootstrap.secret')).toHaveLength(1);
    expect((await refusals()).map(({ key, count }) => [key, count])).toEqual([['bootstrap', 1]]);
  });

  test('count by hour, user and address at the deciding store, without the address or the secret', async () => {
    await applyChangeLog();
    for (let i = 0; i < 4; i++) await guess('alice', '198.51.100.20');
    await guess('robot$alice.users.kraftcloud', '198.51.100.21');
    await guess('alice', '198.51.100.20', NODE1);
    await guess('reader', '198.51.100.20');
    await guess('a-password-in-the-wrong-field', '198.51.100.20');
    const bootstrap = { authorization: 'Bearer a-guess-of-the-bootstrap-secret' };
    const headers = { 'CF-Connecting-IP': '198.51.100.20' };
    expect((await call('GET', '/api/organizations', { as: bootstrap, headers })).status).toBe(401);
    const entries = await eventually(refusals, (found) => total(found) === 9);
    const sorted = entries.toSorted((a, b) =>
      `${a.key} ${a.store} ${a.count}` < `${b.key} ${b.store} ${b.count}` ? -1 : 1,
    );
    const hour = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000).toISOString();
    const common = {
      at: hour,
      action: 'refuse login',
      repository: null,
      by: null,
      host: 'registry.localhost:8787',
      store: 'central',
    };
    expect(sorted).toMatchObject([
      { ...common, organization: 'alice', key: 'alice', count: 1 },
      { ...common, organization: 'alice', key: 'alice', count: 4 },
      { ...common, organization: 'alice', key: 'alice', count: 1, store: 'node1', host: 'registry.localhost:8788' },
      { ...common, organization: null, key: 'bootstrap', count: 1 },
      { ...common, organization: null, key: null, count: 1 },
      { ...common, organization: null, key: 'reader', count: 1 },
    ]);
    expect(new Set(entries.map(({ address }) => address)).size).toBe(2);
    expect(JSON.stringify(entries)).not.toMatch(/198\.51|wrong/);
    expect(total(await refusals('alice', 'organizations/alice/audit'))).toBe(6);
    expect(await refusals('bob', 'organizations/bob/audit')).toEqual([]);
  });

  test('record at least half of all refusals, in few rows and writes', async () => {
    for (let i = 0; i < 50; i++) await guess('bob', '198.51.100.30');
    for (let i = 0; i < 40; i++) await guess(`user-${i}`, '198.51.100.31');
    const entries = await eventually(refusals, (found) => total(found) >= 64);
    expect(entries.find(({ key }) => key === 'bob')?.count).toBe(32);
    expect(entries.filter(({ key }) => key === null)).toHaveLength(1);
    expect(entries).toHaveLength(2);
  });

  test('include those over the limit of logins', async () => {
    const limited = { limit: async () => ({ success: false }) };
    const ask = async (path: string, authorization: string): Promise<number> => {
      const headers = { 'CF-Connecting-IP': '198.51.100.40' };
      const fetcher = workerWith({ CREDENTIAL_CHECKS: limited });
      return (await call('GET', path, { as: { authorization }, headers, fetcher })).status;
    };
    const guessed = basic({ name: 'alice', password: 'a-wrong-guess' });
    expect(await ask('/token', guessed)).toBe(429);
    expect(await ask('/v2/', `Bearer ${btoa('bob:a-wrong-guess')}`)).toBe(429);
    expect(await ask('/api/organizations', guessed)).toBe(429);
    expect(await ask('/api/organizations', 'Bearer a-guess-of-the-bootstrap-secret')).toBe(429);
    const found = (await refusals()).map(({ key, count }) => `${key} ${count}`).toSorted();
    expect(found).toEqual(['alice 2', 'bob 1', 'bootstrap 1']);
  });

  test('are bounded: after a thousand in an hour, the rest share one entry', async () => {
    const control = new ControlData(new Database(env.DB_CENTRAL));
    const now = 1_700_000_000_000;
    const refused = { user: 'alice', organization: 'alice', host: 'h', count: 1 };
    for (let i = 0; i < 1005; i += 1) await control.noteRefusedLogin({ ...refused, address: `address-${i}` }, now);
    await control.noteRefusedLogin({ ...refused, address: 'address-1' }, now + 3_600_000);
    const { results } = await env.DB_CENTRAL.prepare(
      "SELECT at, key, subject, count FROM audit WHERE action = 'refuse login' AND (key = '' OR at > ?1) ORDER BY at",
    )
      .bind(now)
      .all();
    const hour = now - (now % 3_600_000);
    expect(results).toEqual([
      { at: hour, key: '', subject: '', count: 5 },
      { at: hour + 3_600_000, key: 'alice', subject: 'address-1', count: 1 },
    ]);
  });
});
