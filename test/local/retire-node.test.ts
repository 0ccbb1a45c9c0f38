import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addNodeCommand } from '../../src/local/add-node.ts';
import { retireNodeCommand } from '../../src/local/retire-node.ts';
import { recordedOperator, wranglerTomlForEachTest } from '../support/local/operator.ts';

const ID = '6f3a2f4e-0d3c-4f5e-9a51-1c2d3e4f5a6b';
const ENVIRONMENT = { BERTH_USER: 'operator', BERTH_PASSWORD: 'secret' };
const DIGEST = `sha256:${'a'.repeat(64)}`;
const toml = wranglerTomlForEachTest();

/** A central with the answers that a test sets, for the one administrator that it knows. */
const central = {
  server: undefined as Server | undefined,
  url: '',
  asked: [] as string[],
  answers: {} as Record<string, { status?: number; body: unknown }>,
};

beforeAll(async () => {
  const login = `Basic ${Buffer.from('operator:secret').toString('base64')}`;
  central.server = createServer((request, response) => {
    central.asked.push(`${request.method === 'GET' ? '' : `${request.method} `}${request.url}`);
    const known = request.headers.authorization === login;
    const { status = 200, body } = known
      ? (central.answers[request.url ?? ''] ?? { status: 404, body: {} })
      : { status: 401, body: {} };
    response
      .writeHead(status, { 'Content-Type': 'application/json' })
      .end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((done) => central.server?.listen(0, '127.0.0.1', done));
  central.url = `http://127.0.0.1:${(central.server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  central.server?.closeAllConnections();
  await new Promise((done) => central.server?.close(done));
});

let before: string;
let withNode: string;

beforeEach(async () => {
  central.asked = [];
  central.answers = {};
  before = await toml.read();
  const answers = { 'wrangler d1 create': { stdout: `database_id = "${ID}"` } };
  await addNodeCommand(
    ['fra', '--region', 'weur', '--apply', '--config', toml.path],
    recordedOperator(answers),
    'ab12',
  );
  withNode = await toml.read();
});

async function retire(args: string, environment: NodeJS.ProcessEnv = ENVIRONMENT, answers = {}) {
  const operator = recordedOperator(answers);
  const all = [...args.split(' '), '--url', central.url, '--config', toml.path];
  const refused = await retireNodeCommand(all, operator, environment).then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
  return { ...operator, refused };
}

const QUEUE = '/api/replication/queues/fra';

function stateOf(changes: object = {}): void {
  const state = {
    store: 'fra',
    answers: true,
    depth: 0,
    oldest_outbox_entry_seconds: null,
    in_flight: 0,
    parked: 0,
    paused: false,
    change_log: [{ store: 'fra', position: 7 }],
    copies_up: { blobs: 0, bytes: 0 },
  };
  central.answers[QUEUE] = { body: { ...state, ...changes } };
}

describe('a node whose pushes have all reached central', () => {
  test('is removed from wrangler.toml without a trace, and the commands are printed', async () => {
    stateOf();
    const { refused, ran, screen } = await retire('fra');
    expect([refused, ran]).toEqual([undefined, []]);
    expect(await toml.read()).toBe(before);
    expect(central.asked).toEqual([QUEUE]);
    for (const said of [
      'Removed node fra from wrangler.toml.',
      'npm run types:generate',
      'npm run deploy',
      'npx wrangler d1 execute berth-fra-weur-ab12 --remote --command "SELECT count(*) FROM outbox"',
      'npm run retire-node -- --forget fra\n',
      'npx wrangler d1 delete berth-fra-weur-ab12',
      'npx wrangler r2 bucket delete berth-fra-weur-ab12',
    ]) {
      expect(screen()).toContain(said);
    }
  });

  test('is removed by a deployment with --apply, and nothing deletes data', async () => {
    stateOf();
    const { refused, ran, screen } = await retire('fra --apply');
    expect([refused, ran]).toEqual([undefined, ['npm run types:generate', 'npm run deploy']]);
    expect(screen()).toContain('npx wrangler d1 delete berth-fra-weur-ab12');
  });

  test('a failed deployment is reported', async () => {
    stateOf();
    const { refused, screen } = await retire('fra --apply', ENVIRONMENT, { 'npm run deploy': { status: 1 } });
    expect(refused).toContain('npm run deploy failed.');
    expect(screen()).not.toContain('d1 delete');
    expect(screen()).toContain('Store fra has the database berth-fra-weur-ab12 and the bucket berth-fra-weur-ab12.');
    expect(await toml.read()).toBe(before);
    expect((await retire('fra --apply')).refused).toMatch(
      /removed the node and its deployment failed: npm run deploy$/,
    );
  });

  test('is removed without undoing changes made by hand around it', async () => {
    stateOf();
    const edited = (text: string) =>
      `${text.replace("# Berth's whole", '# The whole')}\n# More.\n[env.other]\nname = "other" # kept\n`;
    await toml.write(edited(withNode).replace('store = "fra"', "store = 'fra' # its own"));
    expect((await retire('fra')).refused).toBeUndefined();
    expect(await toml.read()).toBe(edited(before));
  });
});

test('a node whose tables lost their marks is refused, and the missing marks are named', async () => {
  stateOf();
  const unmarked = withNode.replace('# end node fra\n', '');
  await toml.write(unmarked);
  expect((await retire('fra')).refused).toContain('has no "# begin node fra:" and "# end node fra"');
  expect(await toml.read()).toBe(unmarked);
});

test('a node whose marks hold another table too is refused, with the tables', async () => {
  stateOf();
  const foreign = '\n[[env.production.routes]]\npattern = "other.example.com"\ncustom_domain = true\n# end node fra\n';
  const edited = withNode.replace('# end node fra\n', foreign);
  await toml.write(edited);
  expect((await retire('fra')).refused).toContain('move the others out');
  expect(await toml.read()).toBe(edited);
});

describe('a node that has what central lacks is refused, with how much it is and what to do', () => {
  test.each([
    [
      { depth: 3, oldest_outbox_entry_seconds: 12 },
      ['announced to central: 3, the oldest for 12 seconds', 'copied up to central: 0 (0 bytes)'],
    ],
    [{ copies_up: { blobs: 2, bytes: 345 } }, ['announced to central: 0\n', 'copied up to central: 2 (345 bytes)']],
    [{ depth: 1, parked: 4, paused: true }, ['announced to central: 1\n', 'Its queue is paused', 'Parked jobs: 4.']],
  ])('%j', async (changes, said) => {
    stateOf(changes);
    const { refused, ran } = await retire('fra --apply');
    for (const part of [...said, 'Stop pushing to it', 'npm run retire-node -- fra --lost'])
      expect(refused).toContain(part);
    expect([await toml.read(), ran]).toEqual([withNode, []]);
  });
});

test('a node whose queue does not answer is not assumed empty', async () => {
  stateOf({ answers: false });
  const { refused } = await retire('fra');
  expect(refused).toContain('The queue of node fra does not answer, so it is unknown what central lacks.');
});

describe('--lost', () => {
  const page = (items: object[], last: string | null, complete = true) => ({ body: { items, last, complete } });

  test('lists everything, page by page, and continues', async () => {
    stateOf({ depth: 2, copies_up: { blobs: 2, bytes: 30 } });
    central.answers[`${QUEUE}/only-here`] = page(
      [
        { kind: 'manifest', repository: 'alice/app', key: DIGEST },
        { kind: 'tag', repository: 'alice/app', key: 'latest' },
      ],
      'tag alice/app',
    );
    central.answers[`${QUEUE}/only-here?last=tag%20alice%2Fapp`] = page(
      [
        { kind: 'blob', organization: 'alice', key: DIGEST, size: 10, elsewhere: false },
        { kind: 'blob', organization: 'bob', key: DIGEST, size: 20, elsewhere: false },
      ],
      'end',
    );
    central.answers[`${QUEUE}/only-here?last=end`] = page([], null);
    const { refused, screen } = await retire('fra --lost');
    expect(refused).toBeUndefined();
    expect(screen().split('\n').slice(0, 6)).toEqual([
      `lost: manifest alice/app ${DIGEST}`,
      'lost: tag      alice/app latest',
      `lost: blob     alice ${DIGEST} (10 bytes)`,
      `lost: blob     bob ${DIGEST} (20 bytes)`,
      'Lost: 1 manifests, 1 tags, 2 blobs (30 bytes).',
      'Removed node fra from wrangler.toml.',
    ]);
    expect(await toml.read()).toBe(before);
  });

  test('counts what another node has separately', async () => {
    const blob = { kind: 'blob', organization: 'alice', key: DIGEST, size: 10 };
    central.answers[`${QUEUE}/only-here`] = page(
      [
        { ...blob, elsewhere: true },
        { ...blob, elsewhere: false },
      ],
      null,
    );
    const { screen } = await retire('fra --lost');
    expect(screen()).toContain(
      'Lost: 0 manifests, 0 tags, 1 blobs (10 bytes).\nAnother node has 1 more blobs that central lacks',
    );
  });

  test('warns if pushes may be lost that were not announced to central', async () => {
    central.answers[`${QUEUE}/only-here`] = page(
      [{ kind: 'blob', organization: 'alice', key: DIGEST, size: 10, elsewhere: false }],
      null,
      false,
    );
    const { refused, screen } = await retire('fra --lost');
    expect(refused).toBeUndefined();
    expect(screen()).toContain('npm run retire-node -- --forget fra --lost\n');
    expect(screen()).toContain(
      "The node's database does not answer. The list lacks pushes that were not announced to central.",
    );
    expect(screen()).toContain(`lost: blob     alice ${DIGEST} (10 bytes)`);
  });

  test('continues if central cannot tell what is lost, and says so', async () => {
    central.answers[`${QUEUE}/only-here`] = page([{ kind: 'tag', repository: 'alice/app', key: 'latest' }], 'x');
    central.answers[`${QUEUE}/only-here?last=x`] = { status: 503, body: 'store fra is away' };
    const { refused, screen } = await retire('fra --lost');
    expect(refused).toBeUndefined();
    expect(screen()).toContain('lost: tag      alice/app latest');
    expect(screen()).toContain(
      'answers 503: store fra is away\nThe list ends here, because central cannot tell what else is lost.',
    );
    expect(await toml.read()).toBe(before);
  });

  test('refuses if the pages never end', async () => {
    for (const query of ['', '?last=x', '?last=y']) {
      central.answers[`${QUEUE}/only-here${query}`] = page([], query === '?last=x' ? 'y' : 'x');
    }
    expect((await retire('fra --lost')).refused).toContain('repeats the page after');
    expect(await toml.read()).toBe(withNode);
  });
});

describe('--forget, once the node is no longer in wrangler.toml', () => {
  const LOCATIONS = '/api/replication/stores/fra/locations';

  beforeEach(() => toml.write(before));

  test('asks central to forget the store until it is done', async () => {
    central.answers[`${LOCATIONS}?lost=false&last=`] = { body: { locations: 3, last: DIGEST } };
    const rest = `${LOCATIONS}?lost=false&last=${encodeURIComponent(DIGEST)}`;
    central.answers[rest] = { body: { locations: 4, last: null } };
    const { refused, ran, screen } = await retire('--forget fra');
    expect([refused, ran]).toEqual([undefined, []]);
    expect(central.asked).toEqual([`DELETE ${LOCATIONS}?lost=false&last=`, `DELETE ${rest}`]);
    expect(screen()).toBe('Central has forgotten store fra: 7 locations.');
    expect(await toml.read()).toBe(before);
  });

  test('is refused while central lacks bytes that were pushed after the first check', async () => {
    const message = 'central lacks 1 blobs (70 bytes) that lie at fra';
    central.answers[`${LOCATIONS}?lost=false&last=`] = {
      status: 409,
      body: { errors: [{ code: 'CONFLICT', message }] },
    };
    const { refused } = await retire('--forget fra');
    for (const part of [message, 'Delete nothing of fra', 'npm run retire-node -- --forget fra --lost']) {
      expect(refused).toContain(part);
    }
  });

  test.each(['', ' --lost'])(
    '%s of a store that central does not know is refused, and forgets nothing',
    async (lost) => {
      const message = 'central knows nothing of a store fra. Retired stores that central knows: frankfurt';
      const answer = { status: 404, body: { errors: [{ code: 'NOT_FOUND', message, detail: {} }] } };
      central.answers[`${LOCATIONS}?lost=${lost !== ''}&last=`] = answer;
      central.answers[`${QUEUE}/only-here`] = answer;
      const { refused, screen } = await retire(`--forget fra${lost}`);
      for (const part of [message, 'delete nothing', 'takes the name of the store']) expect(refused).toContain(part);
      expect(screen()).not.toContain('forgotten');
    },
  );

  test('lists what is lost and continues with --lost', async () => {
    const items = [{ kind: 'blob', organization: 'alice', key: DIGEST, size: 10, elsewhere: false }];
    central.answers[`${QUEUE}/only-here`] = { body: { items, last: null, complete: false } };
    central.answers[`${LOCATIONS}?lost=true&last=`] = { body: { locations: 1, last: null } };
    const { refused, screen } = await retire('--forget fra --lost');
    expect(refused).toBeUndefined();
    expect(central.asked).toEqual([`${QUEUE}/only-here`, `DELETE ${LOCATIONS}?lost=true&last=`]);
    expect(screen().split('\n')).toEqual([
      "The node's database does not answer. The list lacks pushes that were not announced to central.",
      `lost: blob     alice ${DIGEST} (10 bytes)`,
      'Lost: 0 manifests, 0 tags, 1 blobs (10 bytes).',
      'Central has forgotten store fra: 1 locations.',
    ]);
  });

  test('refuses if central makes no progress', async () => {
    central.answers[`${LOCATIONS}?lost=false&last=`] = { body: { locations: 0, last: '' } };
    expect((await retire('--forget fra')).refused).toContain('makes no progress');
  });

  test('is refused without asking central for a store that a node uses', async () => {
    await toml.write(withNode);
    const { refused } = await retire('--forget fra');
    expect([refused, central.asked]).toEqual(['Node fra uses store fra: retire it first.', []]);
  });

  test('cannot be combined with the name of a node', async () => {
    expect((await retire('fra --forget fra')).refused).toMatch(/^npm run retire-node/);
  });
});

describe('central is not asked about', () => {
  test('a node that shares its store, which stays until the last of them is retired', async () => {
    const add = ['ams', '--region', 'weur', '--store', 'fra', '--config', toml.path];
    await addNodeCommand(add, recordedOperator());
    const { refused, screen } = await retire('fra', {});
    expect([refused, central.asked]).toEqual([undefined, []]);
    expect(screen()).toContain('Another node uses store fra: the store stays');
    expect(screen()).not.toContain('delete');
    const text = await toml.read();
    expect(text).not.toContain('index.fra');
    for (const kept of ['binding = "DB_FRA"', 'binding = "BLOBS_FRA"', 'index.ams.example.com'])
      expect(text).toContain(kept);
    stateOf();
    expect((await retire('ams')).refused).toBeUndefined();
    expect(await toml.read()).toBe(before);
  });

  test('a node that was never deployed', async () => {
    await toml.write(before);
    await addNodeCommand(['fra', '--region', 'weur', '--config', toml.path], recordedOperator());
    const { refused, screen } = await retire('fra', {});
    expect([refused, central.asked]).toEqual([undefined, []]);
    expect(screen()).toContain('has never been deployed');
    for (const unneeded of ['outbox', '--forget']) expect(screen()).not.toContain(unneeded);
    expect(await toml.read()).toBe(before);
  });
});

describe('a refusal changes and runs nothing', () => {
  test.each([
    ['fra ams', ENVIRONMENT, /^npm run retire-node -- <name>/],
    ['ams', ENVIRONMENT, /has no node ams\. Its nodes: fra\./],
    ['fra', {}, /^Set BERTH_USER and BERTH_PASSWORD/],
    [
      'fra',
      { ...ENVIRONMENT, BERTH_PASSWORD: 'wrong' },
      /answers 401: BERTH_USER and BERTH_PASSWORD must be an administrator's/,
    ],
    ['fra --lost', { ...ENVIRONMENT, BERTH_PASSWORD: 'wrong' }, /answers 401/],
    ['fra --url ftp://127.0.0.1', ENVIRONMENT, /^--url must be a URL/],
  ])('%s %j', async (args, environment, reason) => {
    stateOf();
    const operator = recordedOperator();
    const given = args.includes('--url') ? [] : ['--url', central.url];
    const all = [...args.split(' '), '--apply', ...given, '--config', toml.path];
    await expect(retireNodeCommand(all, operator, environment)).rejects.toThrow(reason);
    expect([await toml.read(), operator.ran]).toEqual([withNode, []]);
  });

  test.each([
    ['an unknown store', { status: 404, body: 'no such store' }, 'answers 404: no such store'],
    ['a store that is away', { status: 503, body: 'away' }, 'answers 503: away\nIt is unknown what central lacks.'],
    ['an answer that is not JSON', { body: '<html>' }, 'answers in an unexpected form'],
    [
      'a state without depth',
      { body: { answers: true, copies_up: { blobs: 0, bytes: 0 } } },
      'answers in an unexpected form: depth: ',
    ],
    ['a depth that is not a number', { body: { answers: true, depth: '0' } }, 'answers in an unexpected form: depth: '],
  ])('%s', async (_, answer, reason) => {
    central.answers[QUEUE] = answer;
    const { refused, ran } = await retire('fra --apply');
    expect(refused).toContain(reason);
    expect([await toml.read(), ran]).toEqual([withNode, []]);
  });

  test.each(['', ' --lost'])('a central that does not answer is refused%s', async (lost) => {
    const away = createServer();
    await new Promise<void>((done) => away.listen(0, '127.0.0.1', done));
    const { port } = away.address() as AddressInfo;
    await new Promise((done) => away.close(done));
    const args = [...`fra${lost}`.split(' '), '--url', `http://127.0.0.1:${port}`, '--config', toml.path];
    await expect(retireNodeCommand(args, recordedOperator(), ENVIRONMENT)).rejects.toThrow(
      /does not answer: .*ECONNREFUSED/,
    );
    expect(await toml.read()).toBe(withNode);
  });
});
