import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { addNodeCommand } from '../../src/local/add-node.ts';
import { retireNodeCommand } from '../../src/local/retire-node.ts';
import { ENVIRONMENT, nodeToRetire, QUEUE } from '../support/local/node-to-retire.ts';
import { recordedOperator } from '../support/local/operator.ts';

const { central, retire, stateOf, text, toml } = nodeToRetire();

describe('a node whose pushes have all reached central', () => {
  test('is removed from wrangler.toml without a trace, and the commands are printed', async () => {
    stateOf();
    const { refused, ran, screen } = await retire('fra');
    expect([refused, ran]).toEqual([undefined, []]);
    expect(await toml.read()).toBe(text.before);
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
    expect(await toml.read()).toBe(text.before);
    expect((await retire('fra --apply')).refused).toMatch(
      /removed the node and its deployment failed: npm run deploy$/,
    );
  });

  test('is removed without undoing changes made by hand around it', async () => {
    stateOf();
    const edited = (content: string) =>
      `${content.replace("# Berth's whole", '# The whole')}\n# More.\n[env.other]\nname = "other" # kept\n`;
    await toml.write(edited(text.withNode).replace('store = "fra"', "store = 'fra' # its own"));
    expect((await retire('fra')).refused).toBeUndefined();
    expect(await toml.read()).toBe(edited(text.before));
  });
});

test('a node whose tables lost their marks is refused, and the missing marks are named', async () => {
  stateOf();
  const unmarked = text.withNode.replace('# end node fra\n', '');
  await toml.write(unmarked);
  expect((await retire('fra')).refused).toContain('has no "# begin node fra:" and "# end node fra"');
  expect(await toml.read()).toBe(unmarked);
});

test('a node whose marks hold another table too is refused, with the tables', async () => {
  stateOf();
  const foreign = '\n[[env.production.routes]]\npattern = "other.example.com"\ncustom_domain = true\n# end node fra\n';
  const edited = text.withNode.replace('# end node fra\n', foreign);
  await toml.write(edited);
  expect((await retire('fra')).refused).toContain('move the others out');
  expect(await toml.read()).toBe(edited);
});

describe('a node with content that central lacks is refused, with the amount and advice', () => {
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
    expect([await toml.read(), ran]).toEqual([text.withNode, []]);
  });
});

test('a node whose queue does not answer is not assumed empty', async () => {
  stateOf({ answers: false });
  const { refused } = await retire('fra');
  expect(refused).toContain('The queue of node fra does not answer, so it is unknown what central lacks.');
});

describe('central is not asked about', () => {
  test('a node that shares its store, which stays until the last of them is retired', async () => {
    const add = ['ams', '--region', 'weur', '--store', 'fra', '--config', toml.path];
    await addNodeCommand(add, recordedOperator());
    const { refused, screen } = await retire('fra', {});
    expect([refused, central.asked]).toEqual([undefined, []]);
    expect(screen()).toContain('Another node uses store fra: the store stays');
    expect(screen()).not.toContain('delete');
    const kept = await toml.read();
    expect(kept).not.toContain('index.fra');
    for (const part of ['binding = "DB_FRA"', 'binding = "BLOBS_FRA"', 'index.ams.example.com'])
      expect(kept).toContain(part);
    stateOf();
    expect((await retire('ams')).refused).toBeUndefined();
    expect(await toml.read()).toBe(text.before);
  });

  test('a node that was never deployed', async () => {
    await toml.write(text.before);
    await addNodeCommand(['fra', '--region', 'weur', '--config', toml.path], recordedOperator());
    const { refused, screen } = await retire('fra', {});
    expect([refused, central.asked]).toEqual([undefined, []]);
    expect(screen()).toContain('has never been deployed');
    for (const unneeded of ['outbox', '--forget']) expect(screen()).not.toContain(unneeded);
    expect(await toml.read()).toBe(text.before);
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
    expect([await toml.read(), operator.ran]).toEqual([text.withNode, []]);
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
    expect([await toml.read(), ran]).toEqual([text.withNode, []]);
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
    expect(await toml.read()).toBe(text.withNode);
  });
});
