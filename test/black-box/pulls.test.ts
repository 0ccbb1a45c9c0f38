/** Pulls that an imitation of Analytics Engine counts, over real HTTP, and every way in which it can fail to answer. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { freePorts, type LocalRegistry, startLocalRegistry } from '../../src/local/simulators.ts';
import { loggedSecrets, secrets } from '../support/local/logged-secrets.ts';
import { loggedIn, request } from '../support/local/push.ts';
import { removeFolder, temporaryFolder } from '../support/local/server.ts';
import { SqlApi, type SqlBehaviour } from '../support/local/sql-api.ts';

const TOKEN = `analytics-${crypto.randomUUID()}`;

let sql: SqlApi;
let registry: LocalRegistry;
let folder: string;

beforeAll(async () => {
  secrets.add('the token of Analytics Engine', TOKEN);
  sql = await SqlApi.start(TOKEN);
  folder = await temporaryFolder();
  const [port = 0] = await freePorts();
  const vars = { ANALYTICS_URL: sql.url, ANALYTICS_TOKEN: TOKEN };
  registry = await startLocalRegistry({ port, stateDir: folder, vars });
});
afterAll(async () => {
  await registry.stop();
  await sql.close();
  await removeFolder(folder);
});
beforeEach(() => {
  sql.behaviour = 'well';
});

/** Asks for a number of hours, by which the registry keeps answers. */
const pullsOf = (path: string, hours: number, user: string): Promise<Response> =>
  request(loggedIn(registry.hosts[0]?.url ?? '', user), 'GET', `/api/${path}pulls/hours?hours=${hours}`);

test('the pulls of all repositories and of one are those that Analytics Engine counted', async () => {
  sql.pulls = 12;
  const all = await pullsOf('', 24, 'admin');
  expect([all.status, await all.json()]).toMatchObject([200, { counted: true, hours: [{ pulls: 12 }] }]);
  const one = await pullsOf('organizations/alice/repositories/app/', 24, 'alice');
  expect([one.status, await one.json()]).toMatchObject([200, { counted: true, hours: [{ pulls: 12 }] }]);
  expect(sql.questions[0]).not.toContain('blob6');
  expect(sql.questions[1]).toContain("blob6 = 'alice/app'");
});

const BAD: readonly SqlBehaviour[] = ['never', 'never ends', 'endless', 'nonsense', 'redirect', 'broken', 429];

test.each(BAD.map((behaviour, i) => [behaviour, i + 1] as const))(
  'an SQL API that answers with %s is 503, and pages do not wait for it again',
  async (behaviour, hours) => {
    sql.behaviour = behaviour;
    const before = sql.questions.length;
    expect((await pullsOf('', hours, 'admin')).status).toBe(503);
    expect((await pullsOf('', hours, 'admin')).status).toBe(503);
    expect(sql.questions).toHaveLength(before + 1);
    expect(sql.strays).toEqual([]);
  },
);

test('the log does not contain the token', async () => {
  expect(await loggedSecrets(folder, '')).toEqual([]);
});
