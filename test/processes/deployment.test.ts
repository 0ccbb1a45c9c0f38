/**
 * The commands that deploy a registry, against an imitation of Cloudflare's API: from an empty account to a push, with
 * a node that comes and goes. Each step of the API fails, and the command is run again.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readMigrations } from '../../src/local/migrations.ts';
import { CloudflareAccount, type Fault, type Splitter } from '../support/local/cloudflare-account.ts';
import { copyProject, type Project } from '../support/local/project.ts';
import { type Caller, comparePull, imageOf, pushSteps } from '../support/local/push.ts';

const CENTRAL = 'https://index.example.com';
const NODE = 'https://index.fra.example.com';
const BOOTSTRAP = randomBytes(32).toString('base64url');
const MINUTES = 60_000;

let project: Project;
let account: CloudflareAccount;

beforeEach(async () => {
  project = await copyProject();
});

afterEach(async () => {
  await account.close();
  await project.remove();
});

async function run(command: string, { env = {}, input = '' }: { env?: NodeJS.ProcessEnv; input?: string } = {}) {
  return project.run(command.split(' '), { ...account.environment, ...env }, input);
}

async function succeeds(command: string, options: { env?: NodeJS.ProcessEnv; input?: string } = {}): Promise<string> {
  const { status, output } = await run(command, options);
  expect(status, `${command}\n${output}`).toBe(0);
  return output;
}

/**
 * Runs a command until it succeeds, while each step of the API fails.
 * @param faults the ways in which a step fails, one for each time that it is called
 * @param again the command to run after a failure
 * @param of the steps that fail; all by default
 * @returns the steps that failed
 */
async function runWithFaults(
  command: string,
  faults: readonly Fault[],
  { again = command, env = {}, of = /^/ }: { again?: string; env?: NodeJS.ProcessEnv; of?: RegExp } = {},
): Promise<readonly string[]> {
  const calls = new Map<string, number>();
  let failures = 0;
  account.fault = (step) => {
    if (!of.test(step)) return undefined;
    const count = calls.get(step) ?? 0;
    calls.set(step, count + 1);
    // A GET has done nothing, so it makes no difference when it fails.
    const fault = step.startsWith('GET') && count > 0 ? undefined : faults[count];
    if (fault !== undefined) failures++;
    return fault;
  };
  for (let next = command; ; next = again) {
    const before = failures;
    const { status, output } = await run(next, { env });
    if (status === 0) break;
    expect(failures, `failed without a fault: ${next}\n${output}`).toBeGreaterThan(before);
  }
  account.fault = () => undefined;
  return [...calls.keys()];
}

/** Creates central's database, bucket and secrets, as docs/deploying.md says. */
async function prepareCentral(): Promise<void> {
  const created = await succeeds('npx wrangler d1 create berth-central --location weur');
  const id = /database_id = "([0-9a-f-]{36})"/.exec(created)?.[1];
  if (id === undefined) throw new Error(`no id in: ${created}`);
  await succeeds('npx wrangler r2 bucket create berth-central --location weur');
  const unset = /(?<=database_name = "berth-central"\ndatabase_id = ")[0-9-]+(?=" # what)/;
  await project.write((await project.read()).replace(unset, id));
  const secret = async (name: string, input: string) =>
    succeeds(`npx wrangler secret put ${name} --env production`, { input });
  await secret('SIGNING_KEY', randomBytes(32).toString('base64'));
  await secret('BOOTSTRAP_SECRET', BOOTSTRAP);
}

function at(url: string, authorization: string): Caller {
  return {
    url,
    authorization,
    fetch: async (input, init) => account.runtime.fetch(new URL(input as URL), init),
  };
}

async function api(path: string, body: object, authorization: string): Promise<{ secret: string }> {
  const headers = { Authorization: authorization, 'Content-Type': 'application/json' };
  const init = { method: 'POST', headers, body: JSON.stringify(body) };
  const answer = await account.runtime.fetch(new URL(path, CENTRAL), init);
  expect(answer.status).toBe(201);
  return (await answer.json()) as { secret: string };
}

const basic = (user: string, secret: string) => `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}`;

/** Serves central on loopback, for a command that runs as a process. */
async function openCentral(): Promise<Server> {
  const server = createServer((request, response) => {
    const headers = { Authorization: request.headers.authorization ?? '' };
    void account.runtime
      .fetch(new URL(request.url ?? '/', CENTRAL), { method: request.method ?? 'GET', headers })
      .then(async (answer) =>
        response.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(await answer.text()),
      );
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

async function pushAndPull(caller: Caller, repository: string): Promise<ReturnType<typeof imageOf>> {
  const image = imageOf(1000, 200_000);
  for (const step of pushSteps(repository, 'latest', image)) await step.run(caller);
  await comparePull(caller, repository, 'latest', image);
  return image;
}

test(
  'from an empty account to a push, a node and its retirement, while each step of the API fails',
  async () => {
    account = await CloudflareAccount.open();
    await prepareCentral();
    const deployed = await runWithFaults('npm run deploy', ['before', 'after']);
    for (const step of ['d1/database/*/query', 'PUT accounts/*/workers/scripts/berth', 'domains/records', 'schedules'])
      expect(
        deployed.filter((each) => each.includes(step)),
        step,
      ).not.toEqual([]);
    expect([account.domains, account.crons]).toEqual([['index.example.com'], ['* * * * *', '23 * * * *']]);

    const operator = await api('/api/credentials', { name: 'operator', kind: 'administrator' }, `Bearer ${BOOTSTRAP}`);
    const administrator = basic('operator', operator.secret);
    await api('/api/organizations', { name: 'acme' }, administrator);
    const rights = { name: 'ci', rights: ['pull', 'push'] };
    const ci = basic('ci', (await api('/api/organizations/acme/credentials', rights, administrator)).secret);
    await pushAndPull(at(CENTRAL, ci), 'acme/at-central');

    const added = await runWithFaults('npm run add-node -- fra --region weur --apply', ['before', 'after'], {
      of: /database$|database 1$|r2|PUT .*scripts\/berth$/,
    });
    for (const step of ['POST accounts/*/d1/database', 'POST accounts/*/r2/buckets'])
      expect(added.join('\n')).toContain(step);
    expect(account.domains).toEqual(['index.example.com', 'index.fra.example.com']);
    expect([...account.databases.keys(), ...account.buckets.keys()]).toEqual([
      'berth-central',
      expect.stringMatching(/^berth-fra-weur-[0-9a-z]{4}$/),
      'berth-central',
      expect.stringMatching(/^berth-fra-weur-[0-9a-z]{4}$/),
    ]);
    expect([...account.buckets.values()]).toEqual([{ location: 'weur' }, { location: 'weur' }]);
    await account.runtime.scheduled();
    const image = await pushAndPull(at(NODE, ci), 'acme/at-the-node');

    const central = await openCentral();
    const url = `http://127.0.0.1:${(central.address() as AddressInfo).port}`;
    const env = { BERTH_USER: 'operator', BERTH_PASSWORD: operator.secret };
    const retire = `npm run retire-node -- fra --apply --url ${url}`;
    await expect.poll(async () => depthOf(administrator), { timeout: MINUTES, interval: 500 }).toBe(0);
    await runWithFaults(retire, ['before'], { again: 'npm run deploy', env, of: /^PUT/ });
    central.closeAllConnections();
    central.close();
    expect(account.domains).toEqual(['index.example.com']);
    expect(account.bindings.map(({ name }) => name)).not.toContain('DB_FRA');
    expect(account.databases.size).toBe(2);
    await comparePull(at(CENTRAL, ci), 'acme/at-the-node', 'latest', image);
  },
  20 * MINUTES,
);

/** Returns the number of the node's entries and blobs that central still lacks. */
async function depthOf(authorization: string): Promise<number> {
  await account.runtime.scheduled();
  const url = new URL('/api/replication/queues/fra', CENTRAL);
  const answer = await account.runtime.fetch(url, { headers: { Authorization: authorization } });
  const { depth, copies_up: left } = (await answer.json()) as { depth: number; copies_up: { blobs: number } };
  return depth + left.blobs;
}

test.each<[Splitter, readonly Fault[]]>([
  ['semicolons', ['before']],
  ['semicolons, without a transaction', []],
])(
  'a query API that splits at %s: migrations are imported once, with their record',
  async (splitter, faults) => {
    account = await CloudflareAccount.open(splitter);
    await prepareCentral();
    const steps = await runWithFaults('npm run deploy', faults, { of: /d1|uploads/ });
    for (const action of ['init', 'ingest', 'poll']) expect(steps.join('\n')).toContain(`import ${action}`);
    const database = await account.runtime.database(account.databases.get('berth-central')?.id ?? '');
    const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>();
    expect(results.map(({ name }) => name)).toEqual((await readMigrations()).map(({ name }) => name));
    account.steps.length = 0;
    await succeeds('npm run deploy');
    expect(account.steps.filter((step) => step.includes('import'))).toEqual([]);
    const answer = await account.runtime.fetch(new URL('/healthz', CENTRAL));
    expect(await answer.json()).toMatchObject({ stores: { central: { database: 'ok', bucket: 'ok' } } });
  },
  5 * MINUTES,
);

test(
  'a missing bucket is refused, after migrations that a query API takes line by line',
  { timeout: 5 * MINUTES },
  async () => {
    account = await CloudflareAccount.open();
    await prepareCentral();
    account.buckets.delete('berth-central');
    const { status, output } = await run('npm run deploy');
    expect(status).toBe(1);
    expect(output).toContain("R2 bucket 'berth-central' not found");
    expect(account.buckets.size).toBe(0);
    // The migrations went before, and none had to be imported.
    expect(account.steps.filter((step) => step.includes('/query'))).not.toEqual([]);
    expect(account.steps.filter((step) => step.includes('import'))).toEqual([]);
  },
);
