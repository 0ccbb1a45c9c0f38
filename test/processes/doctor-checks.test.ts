/**
 * `npm run doctor` against a local registry, and against imitations of the faults that it finds before it pushes
 * anything. `processes/doctor-faults.test.ts` has the others.
 */
import { describe, expect, test } from 'vitest';
import { diagnose, edgesForFile, repositories, seen, todo } from '../support/local/doctor.ts';
import { ADMINISTRATOR, BOTH } from '../support/local/doctor-credentials.ts';
import { changedJson, type Fault, withHeaders } from '../support/local/edge.ts';
import { loggedIn, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();
const edges = edgesForFile(server);
const url = (): string => `http://localhost:${server.current.port}`;

test('a good deployment has no failures, and nothing is left behind', async () => {
  const lines = await diagnose([url()], BOTH);
  expect(seen(lines, 'failure')).toEqual([]);
  expect(seen(lines, 'warning')).toEqual([]);
  const hosts = [0, 1, 2].map((i) => `localhost:${server.current.port + i}`);
  for (const check of ['login challenge', 'health', 'clock', 'push', 'headers', 'pull', 'range', 'latency']) {
    expect([check, [...new Set(lines.filter((line) => line.check === check).map(({ host }) => host))]]).toEqual([
      check,
      hosts,
    ]);
  }
  const said = seen(lines, 'ok');
  expect(said).toContain('stores: central has all migrations');
  expect(said).toContain('secrets: SIGNING_KEY, BOOTSTRAP_SECRET are set');
  expect(
    said.filter((line) => /^maintenance: at (?:central|node1|node2), a task last ran \d+ s ago$/.test(line)).length,
  ).toBe(3);
  expect(said.filter((line) => /^queues: the queue of node[12] answers/.test(line)).length).toBe(2);
  expect(said.filter((line) => /^seen everywhere: a push to localhost:\d+ is seen at/.test(line)).length).toBe(2);
  expect(said.filter((line) => /^deleted everywhere: a deletion at localhost:\d+ is seen at/.test(line)).length).toBe(
    3,
  );
  expect(said).toContainEqual(expect.stringMatching(/^clean-up: alice\/doctor-[0-9a-f]{8} is removed$/));
  expect([...new Set(seen(lines, 'not checked'))]).toEqual([
    'address: loopback',
    'certificate: loopback',
    'plain HTTP: loopback',
    'largest body: only with --large',
  ]);
  expect(await repositories(server.current)).toEqual([]);
});

test('without credentials, it says what it leaves out', async () => {
  const lines = await diagnose([url()], {});
  expect(seen(lines, 'failure')).toEqual([]);
  expect(seen(lines, 'not checked').slice(-2)).toEqual([
    "stores, secrets, maintenance, scrub, queues, console and more hosts: they need an administrator's credential: set BERTH_USER and BERTH_PASSWORD",
    "push, pull, latency, replication: they need an organization's credential: set BERTH_ORGANIZATION_USER and BERTH_ORGANIZATION_PASSWORD",
  ]);
});

describe('with a credential that is not good enough', () => {
  test.each([
    [
      'an organization’s instead of an administrator’s',
      { BERTH_USER: 'alice', BERTH_PASSWORD: 'alice-dev' },
      /administrator: .* 403/,
    ],
    ['a wrong secret', { ...ADMINISTRATOR, BERTH_PASSWORD: 'wrong' }, /administrator: .* 401/],
    [
      'an administrator’s instead of an organization’s',
      { BERTH_ORGANIZATION_USER: 'admin', BERTH_ORGANIZATION_PASSWORD: 'admin-dev' },
      /organization: admin belongs to no organization/,
    ],
  ])('%s is a failure', async (_what, environment, expected) => {
    const failures = seen(await diagnose([url()], environment), 'failure');
    expect(failures).toEqual([expect.stringMatching(expected)]);
  });

  test('one that may not delete pushes nothing', async () => {
    const made = await request(loggedIn(url(), 'alice'), 'POST', '/api/organizations/alice/credentials', {
      body: JSON.stringify({ name: 'no-delete', rights: ['pull', 'push'] }),
      headers: { 'Content-Type': 'application/json' },
    });
    const { secret } = (await made.json()) as { secret: string };
    const lines = await diagnose([url()], {
      BERTH_ORGANIZATION_USER: 'no-delete',
      BERTH_ORGANIZATION_PASSWORD: secret,
    });
    expect(seen(lines, 'failure')).toEqual([
      expect.stringMatching(/^push: the credential no-delete may not delete in alice\/doctor-/),
    ]);
    expect(await repositories(server.current)).toEqual([]);
  });
});

const PAGE = { status: 403, headers: { 'Content-Type': 'text/html' }, body: Buffer.from('<!DOCTYPE html>') };
const CHALLENGE = { ...PAGE, headers: { ...PAGE.headers, 'cf-mitigated': 'challenge' } };

type Case = readonly [what: string, fault: Fault, expected: RegExp, advice: RegExp];

const OUTSIDE: readonly Case[] = [
  [
    'a challenge page',
    { refuse: ({ path }) => (path === '/v2/' ? CHALLENGE : undefined) },
    /^login challenge: .* 403 and a challenge page \(cf-mitigated: challenge\)$/,
    /Bot Fight Mode/,
  ],
  [
    'a challenge page for one client alone',
    { refuse: ({ headers }) => (/containerd/.test(headers['user-agent'] ?? '') ? CHALLENGE : undefined) },
    /^login challenge: .* challenge page/,
    /Bot Fight Mode/,
  ],
  [
    'a page of a firewall',
    { refuse: ({ path }) => (path === '/v2/' ? PAGE : undefined) },
    /^login challenge: .* 403 and an HTML page, which Berth never sends$/,
    /security rule/,
  ],
  [
    'a redirect of /v2/',
    { refuse: ({ path }) => (path === '/v2/' ? { status: 301, headers: { Location: '/v2' } } : undefined) },
    /^login challenge: .* 301, to \/v2$/,
    /Remove the rule that redirects/,
  ],
  [
    'Cloudflare Access',
    {
      refuse: () => ({
        status: 302,
        headers: { Location: 'https://acme.cloudflareaccess.com/cdn-cgi/access/login/x?kid=1' },
      }),
    },
    /^login challenge: .* 302, to https:\/\/acme\.cloudflareaccess\.com\//,
    /Cloudflare Access/,
  ],
  [
    'a challenge that leads elsewhere',
    { change: (answer) => withHeaders(answer, { 'www-authenticate': 'Bearer realm="https://elsewhere/token"' }) },
    /^login challenge: .* WWW-Authenticate is "Bearer realm="https:\/\/elsewhere/,
    /transform rule/,
  ],
  [
    'a missing API version',
    { change: (answer) => withHeaders(answer, { 'docker-distribution-api-version': undefined }) },
    /^login challenge: .* Docker-Distribution-API-Version is missing/,
    /transform rule/,
  ],
  [
    'a clock that is two minutes ahead',
    {
      change: changedJson('/token', (body: object) => ({
        ...body,
        issued_at: new Date(Date.now() + 120_000).toISOString(),
      })),
    },
    /^clock: 1(?:20|19) s ahead of this machine$/,
    /NTP/,
  ],
  [
    'a bad configuration',
    {
      refuse: ({ path }) =>
        path === '/healthz'
          ? {
              status: 503,
              body: Buffer.from(
                '{"errors":[{"code":"UNAVAILABLE","message":"SIGNING_KEY: must be base64","detail":{}}]}',
              ),
            }
          : undefined,
    },
    /^health: \/healthz is answered with 503: SIGNING_KEY: must be base64$/,
    /wrangler secret put/,
  ],
  [
    'a bucket that does not answer',
    {
      refuse: ({ path }) =>
        path === '/healthz'
          ? {
              status: 503,
              body: Buffer.from(
                '{"status":"unavailable","stores":{"central":{"database":"ok","bucket":"unavailable"}}}',
              ),
            }
          : undefined,
    },
    /^health: the bucket of central does not answer$/,
    /npm run deploy/,
  ],
];

test.each(OUTSIDE)('%s is a failure', async (_what, fault, expected, advice) => {
  edges.central.fault = fault;
  const lines = await diagnose([edges.central.url], {});
  expect(seen(lines, 'failure')).toEqual([expect.stringMatching(expected)]);
  expect(todo(lines)).toMatch(advice);
});

test('a host that does not answer is a failure, and the others are checked', async () => {
  const lines = await diagnose([edges.central.url, '--hosts', 'localhost:1'], {});
  expect(seen(lines, 'failure')).toEqual([expect.stringMatching(/^login challenge: GET \/v2\/ got no answer: /)]);
  expect(lines).toContainEqual({
    check: 'everything else',
    host: 'localhost:1',
    outcome: 'not checked',
    seen: 'because of the login challenge',
    todo: null,
  });
  expect(lines.some(({ check, host }) => check === 'health' && host === edges.central.host)).toBe(true);
});

/** Changes to the deployment's report about itself. */
type Lie = readonly [what: string, change: NonNullable<Fault['change']>, expected: RegExp, advice: RegExp];

const hoursAgo = (hours: number): string => new Date(Date.now() - hours * 3_600_000).toISOString();

const overdueScrub = {
  task: 'scrub',
  last_slice_at: hoursAgo(5),
  next_at: hoursAgo(3),
  round_started_at: hoursAgo(20),
  stopped: null,
};

/** Says that the scrub is on or off, and gives central one task instead of its scrub. */
const scrubbed = (scrubs: boolean, instead: object) =>
  changedJson('/api/maintenance', (body: { stores: { tasks: { task: string }[] }[] }) => ({
    ...body,
    scrubs,
    stores: body.stores.map((each, i) =>
      i > 0 ? each : { ...each, tasks: [...each.tasks.filter(({ task }) => task !== 'scrub'), instead] },
    ),
  }));

const INSIDE: readonly Lie[] = [
  [
    'a missing migration',
    changedJson('/api/deployment', (body: { stores: object[] }) => ({
      ...body,
      stores: body.stores.map((store, i) => (i === 1 ? { ...store, missing_migrations: ['0002_next.sql'] } : store)),
    })),
    /^stores: node1 lacks 0002_next\.sql$/,
    /npm run deploy/,
  ],
  [
    'a database that does not answer',
    changedJson('/api/deployment', (body: { stores: object[] }) => ({
      ...body,
      stores: body.stores.map((store, i) =>
        i === 2 ? { ...store, database: 'unavailable', missing_migrations: null } : store,
      ),
    })),
    /^stores: the database of node2 does not answer$/,
    /bindings/,
  ],
  [
    'maintenance that never ran',
    changedJson('/api/maintenance', (body: { stores: object[] }) => ({
      ...body,
      stores: body.stores.map((store, i) => (i === 0 ? { ...store, tasks: [] } : store)),
    })),
    /^maintenance: no task has ever run at central$/,
    /cron trigger/,
  ],
  [
    'a cron trigger that stopped firing',
    changedJson('/api/maintenance', (body: { stores: { tasks: object[] }[] }) => ({
      ...body,
      stores: body.stores.map((store, i) => {
        const at = new Date(Date.now() - 7_200_000).toISOString();
        return i === 1
          ? { ...store, tasks: store.tasks.map((task) => ({ ...task, last_slice_at: at, next_at: at })) }
          : store;
      }),
    })),
    /^maintenance: (?:collect|tombstones|comparison|, )+ at node1 is overdue; a task last ran 120 min ago$/,
    /cron trigger/,
  ],
  [
    'a scrub that has never run',
    scrubbed(true, { ...overdueScrub, task: 'comparison', last_slice_at: hoursAgo(1), next_at: hoursAgo(-21) }),
    /^scrub: the scrub has never run at central$/,
    /hourly cron trigger/,
  ],
  [
    'a queue that does not answer',
    changedJson('/api/replication/queues', (body: { queues: object[] }) => ({
      queues: body.queues.map((queue, i) => (i === 0 ? { ...queue, answers: false } : queue)),
    })),
    /^queues: the queue of node1 does not answer$/,
    /Alerts/,
  ],
  [
    'a node that hears nothing',
    changedJson('/api/replication/queues', (body: { queues: { change_log: object[] }[] }) => ({
      queues: body.queues.map((queue) => ({
        ...queue,
        change_log: queue.change_log.map((each) => ({ ...each, seconds_since: 600 })),
      })),
    })),
    /^queues: node1 last read the change log 600 s ago$/,
    /cron trigger/,
  ],
];

test.each(INSIDE)('%s is a failure', async (_what, change, expected, advice) => {
  edges.central.fault = { change };
  const lines = await diagnose([edges.central.url], ADMINISTRATOR);
  expect(seen(lines, 'failure')[0]).toMatch(expected);
  expect(todo(lines)).toMatch(advice);
});

/** Changes every queue. */
const queues = (change: object) =>
  changedJson('/api/replication/queues', (body: { queues: object[] }) => ({
    queues: body.queues.map((queue) => Object.assign(queue, change)),
  }));

/** Part of the answer for a store that did not answer within a second. */
const SLOW = { answers: false, tasks: [], copies_up: null, change_log: [] };

const WORTH_A_LOOK: readonly Lie[] = [
  ['a paused queue', queues({ paused: true }), /^queues: the queue of node1 is paused$/, /resume/],
  [
    'central when it is slow',
    queues({ copies_up: null, change_log: [] }),
    /^queues: central did not answer within a second for node1$/,
    /npx wrangler tail/,
  ],
  ['a parked job', queues({ parked: 2 }), /^queues: 2 jobs of node1 are parked$/, /Parked jobs/],
  [
    'a push that waits',
    queues({ oldest_outbox_entry_seconds: 900 }),
    /^queues: a push to node1 has waited for 900 s$/,
    /Alerts/,
  ],
  [
    'a task that is stopped',
    changedJson('/api/maintenance', (body: { stores: { tasks: object[] }[] }) => {
      const at = new Date().toISOString();
      const task = {
        task: 'sweep',
        last_slice_at: at,
        next_at: at,
        round_started_at: at,
        stopped: 'node1 does not answer',
      };
      body.stores[0]?.tasks.push(task);
      return body;
    }),
    /^maintenance: sweep at central is stopped: node1 does not answer$/,
    /A maintenance task is stopped/,
  ],
  [
    'a scrub that is overdue',
    scrubbed(true, overdueScrub),
    /^scrub: the scrub last ran 30\d min ago at central, and is overdue$/,
    /hourly cron trigger/,
  ],
  [
    'collection that is off',
    changedJson('/api/maintenance', (body: object) => ({ ...body, collects: false })),
    /^maintenance: nothing is collected$/,
    /collect = false/,
  ],
  [
    'a clock that is ten seconds behind',
    changedJson('/token', (body: object) => ({ ...body, issued_at: new Date(Date.now() - 10_000).toISOString() })),
    /^clock: (?:10|9) s behind this machine$/,
    /NTP/,
  ],
];

test.each(WORTH_A_LOOK)('%s is a warning', async (_what, change, expected, advice) => {
  edges.central.fault = { change };
  const lines = await diagnose([edges.central.url], ADMINISTRATOR);
  expect(seen(lines, 'failure')).toEqual([]);
  expect(seen(lines, 'warning')[0]).toMatch(expected);
  expect(lines.find(({ outcome }) => outcome === 'warning')?.todo).toMatch(advice);
});

test('an overdue scrub does not cause a warning where the scrub is off', async () => {
  edges.central.fault = { change: scrubbed(false, overdueScrub) };
  const lines = await diagnose([edges.central.url], ADMINISTRATOR);
  expect(seen(lines, 'not checked')).toContain('scrub: scrub_gb_per_day is 0');
  expect([...seen(lines, 'failure'), ...seen(lines, 'warning')]).toEqual([]);
});

test.each([
  ['/api/maintenance', (body: { stores: object[] }) => body.stores.map((store) => Object.assign(store, SLOW))],
  ['/api/replication/queues', (body: { queues: object[] }) => body.queues.map((queue) => Object.assign(queue, SLOW))],
])('a store that is too slow for %s is asked once more', async (path, slow) => {
  let isSlow = true;
  const change = changedJson(path, (body: never) => {
    if (isSlow) slow(body);
    isSlow = false;
    return body;
  });
  edges.central.fault = { change };
  const lines = await diagnose([edges.central.url], ADMINISTRATOR);
  expect([isSlow, ...seen(lines, 'failure'), ...seen(lines, 'warning')]).toEqual([false]);
});
