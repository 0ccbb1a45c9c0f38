import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { addNodeCommand } from '../../src/local/add-node.ts';
import { retireNodeCommand } from '../../src/local/retire-node.ts';
import { recordedOperator, ROOT, wranglerTomlForEachTest } from '../support/local/operator.ts';

const ID = '6f3a2f4e-0d3c-4f5e-9a51-1c2d3e4f5a6b';
/** The output of wrangler when it has created a database: TOML for the configuration. */
const CREATED = `✅ Successfully created DB 'berth-fra-weur-ab12' in region WEUR
Created your new D1 database.

To access your new D1 Database in your Worker, add the following snippet to your configuration file:
[[d1_databases]]
binding = "berth_fra_weur_ab12"
database_name = "berth-fra-weur-ab12"
database_id = "${ID}"
`;
const NO_ID = '00000000-0000-0000-0000-000000000000';
const toml = wranglerTomlForEachTest();

const block = (id: string) => `
# begin node fra: written by \`npm run add-node\`, removed by \`npm run retire-node\`
[[env.production.vars.REGISTRY.nodes]]
name = "fra"
hosts = ["index.fra.example.com"]
store = "fra"
region = "weur"

[[env.production.routes]]
pattern = "index.fra.example.com"
custom_domain = true
# end node fra

# begin store fra: written by \`npm run add-node\`, removed by \`npm run retire-node\`
[[env.production.d1_databases]]
binding = "DB_FRA"
database_name = "berth-fra-weur-ab12"
database_id = "${id}"
migrations_dir = "src/stores/migrations"

[[env.production.r2_buckets]]
binding = "BLOBS_FRA"
bucket_name = "berth-fra-weur-ab12"
# end store fra
`;

async function add(args: string, answers: Parameters<typeof recordedOperator>[0] = {}, suffix = 'ab12') {
  const operator = recordedOperator(answers);
  const refused = await addNodeCommand([...args.split(' '), '--config', toml.path], operator, suffix).then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
  return { ...operator, refused };
}

describe('without --apply', () => {
  test('the node is appended, everything else stays byte for byte, and the commands are printed', async () => {
    const before = await toml.read();
    const { refused, ran, screen } = await add('fra --region weur');
    expect([refused, ran]).toEqual([undefined, []]);
    expect(await toml.read()).toBe(before + block(NO_ID));
    expect(
      screen()
        .split('\n')
        .map((line) => line.trim()),
    ).toEqual([
      'Variable REGISTRY: 191 of 5000 bytes. Nodes: 1.',
      'Custom domains of example.com: 2 of 100.',
      'Added node fra to wrangler.toml: index.fra.example.com, store fra, region weur.',
      '',
      'Left to do:',
      'npx wrangler d1 create berth-fra-weur-ab12 --location weur',
      'then set database_id of DB_FRA in [env.production] of wrangler.toml to the id that it prints',
      'npx wrangler r2 bucket create berth-fra-weur-ab12 --location weur',
      'npm run types:generate',
      "the bindings' types, which npm test compares",
      'npm run deploy',
      'migrates the databases, then deploys the code',
    ]);
  });

  test('a node can have its own domain, and a region that D1 and R2 have no hint for', async () => {
    const { screen } = await add('sao-paulo --region sam --domain example.net');
    const text = await toml.read();
    expect(text).toContain('hosts = ["index.sao-paulo.example.net"]\nstore = "sao-paulo"\nregion = "sam"\n');
    expect(text).toContain('binding = "DB_SAO_PAULO"');
    expect(screen()).toContain('D1 and R2 have no location hint sam');
    expect(screen()).toContain('wrangler d1 create berth-sao-paulo-enam-ab12 --location enam');
  });

  test('a second node can share the store of the first', async () => {
    await add('fra --region weur');
    const before = await toml.read();
    const { screen } = await add('ams --region weur --store fra');
    expect(screen()).not.toContain('create');
    expect(await toml.read()).toBe(`${before}
# begin node ams: written by \`npm run add-node\`, removed by \`npm run retire-node\`
[[env.production.vars.REGISTRY.nodes]]
name = "ams"
hosts = ["index.ams.example.com"]
store = "fra"
region = "weur"

[[env.production.routes]]
pattern = "index.ams.example.com"
custom_domain = true
# end node ams
`);
  });
});

describe('with --apply', () => {
  const CREATE = 'wrangler d1 create berth-fra-weur-ab12 --location weur';
  const CREATE_BUCKET = 'wrangler r2 bucket create berth-fra-weur-ab12 --location weur';
  const DEPLOY = ['npm run types:generate', 'npm run deploy'];
  const created = { [CREATE]: { stdout: CREATED } };

  test('the commands run in order, and wrangler.toml gets the id of the database', async () => {
    const before = await toml.read();
    const { refused, ran } = await add('fra --region weur --apply', created);
    expect(refused).toBeUndefined();
    expect(ran).toEqual([CREATE, CREATE_BUCKET, ...DEPLOY]);
    expect(await toml.read()).toBe(before + block(ID));
  });

  test('wrangler.toml has the names before anything is created, so that a failure can be repaired', async () => {
    const before = await toml.read();
    const { refused, ran } = await add('fra --region weur --apply', { 'wrangler d1': { status: 1 } });
    expect(refused).toContain(`npx ${CREATE} failed. The node is in wrangler.toml, but nothing is deployed.`);
    expect(refused).toContain('Run `npm run add-node` again with the same arguments.');
    expect(ran).toEqual([CREATE, 'wrangler d1 list --json']);
    expect(await toml.read()).toBe(before + block(NO_ID));
    const again = await add('fra --region weur --apply', created, 'ot-her');
    expect([again.refused, again.ran]).toEqual([undefined, [CREATE, CREATE_BUCKET, ...DEPLOY]]);
    expect(await toml.read()).toBe(before + block(ID));
  });

  test('a database and a bucket that an earlier run has created are used', async () => {
    const before = await toml.read();
    const listed = `▲ a warning\n${JSON.stringify([{ name: 'other' }, { name: 'berth-fra-weur-ab12', uuid: ID }])}`;
    const answers = {
      [CREATE]: { status: 1 },
      'wrangler d1 list': { stdout: listed },
      [CREATE_BUCKET]: { status: 1 },
    };
    const { refused, ran } = await add('fra --region weur --apply', answers);
    expect(refused).toBeUndefined();
    const asked = ['wrangler d1 list --json', 'wrangler r2 bucket lifecycle list berth-fra-weur-ab12'];
    expect(ran).toEqual([CREATE, asked[0], CREATE_BUCKET, asked[1], ...DEPLOY]);
    expect(await toml.read()).toBe(before + block(ID));
  });

  test('nothing is deployed if the bucket cannot be created, and the next run goes on there', async () => {
    const { refused, ran } = await add('fra --region weur --apply', { ...created, 'wrangler r2': { status: 1 } });
    expect(refused).toContain(`npx ${CREATE_BUCKET} failed.`);
    expect(ran).not.toContain('npm run deploy');
    expect((await add('fra --region weur --apply')).ran).toEqual([CREATE_BUCKET, ...DEPLOY]);
  });

  test('a deployment that fails is left to do, and the next run does it', async () => {
    const { refused, screen } = await add('fra --region weur --apply', { ...created, 'npm run deploy': { status: 1 } });
    expect(refused).toContain('npm run deploy failed.');
    expect(screen().split('Left to do:')[1]?.trim()).toMatch(/^npm run deploy\n/);
    expect((await add('fra --region weur --apply')).refused).toBeUndefined();
  });

  test('a node that is there with other values is refused', async () => {
    await add('fra --region weur --apply', created);
    for (const args of ['fra --region enam', 'fra --region weur --domain example.net']) {
      const { refused, ran } = await add(`${args} --apply`);
      expect(refused).toMatch(/^wrangler.toml already has node fra, with other values: index\.fra\.example\.com, /);
      expect(ran).toEqual([]);
    }
  });

  test('an id that cannot be set is printed', async () => {
    await add('fra --region weur');
    const name = 'database_name = "berth-fra-weur-ab12"\n';
    await toml.write((await toml.read()).replace(name, `${name}# Not yet:\n`));
    const { refused, ran } = await add('fra --region weur --apply', created);
    expect(refused).toBe(
      `In wrangler.toml, set database_id of the database berth-fra-weur-ab12 to ${ID}, and run this again.`,
    );
    expect(ran).toEqual([CREATE]);
  });
});

test('a node that comes back after its retirement has a database and a bucket of other names', async () => {
  const first = await add('fra --region weur', {}, 'ab12');
  await retireNodeCommand(['fra', '--config', toml.path], recordedOperator());
  const second = await add('fra --region enam', {}, 'cd34');
  expect(first.screen()).toContain('r2 bucket create berth-fra-weur-ab12 --location weur');
  expect(second.screen()).toContain('r2 bucket create berth-fra-enam-cd34 --location enam');
});

test('the suffix is random', async () => {
  const names = new Set<string | undefined>();
  for (const name of ['a', 'b', 'c']) {
    const operator = recordedOperator();
    await addNodeCommand([name, '--region', 'weur', '--config', toml.path], operator);
    names.add(/d1 create berth-[abc]-weur-([0-9a-z]{4}) /.exec(operator.screen())?.[1]);
  }
  expect(names.size).toBeGreaterThan(1);
  expect(names).not.toContain(undefined);
});

describe('a refusal changes and runs nothing', () => {
  test.each([
    ['fra', /^npm run add-node -- <name> --region <region>/],
    ['fra ams --region weur', /^npm run add-node -- <name> --region <region>/],
    ['fra --region weur --else', /Unknown option '--else'/],
    ['fra --region mars', /^--region must be one of wnam, .*, not "mars"/],
    ['Fra --region weur', /^The Worker would refuse this node: name: must be lowercase letters, digits and "-"$/],
    ['f_a --region weur', /^The Worker would refuse this node: name: /],
    ['central --region weur', /^The Worker would refuse this node: name: must not be "central"$/],
    ['fra --region weur --domain a/b', /^The Worker would refuse this node: hosts\.0: must be a host name/],
    [`${'a'.repeat(48)} --region weur`, /^A node's name must have at most 47 characters/],
    ['fra --region weur --store central', /^--store must name the store of another node.*there is no other node/],
    ['fra --region weur --store ams', /^--store must name the store of another node/],
  ])('%s', async (args, reason) => {
    const before = await toml.read();
    const { refused, ran } = await add(`${args} --apply`);
    expect(refused).toMatch(reason);
    expect([await toml.read(), ran]).toEqual([before, []]);
  });

  test('a node cannot be added twice', async () => {
    await add('fra --region weur');
    const before = await toml.read();
    expect((await add('fra --region weur')).refused).toMatch(/^wrangler.toml already has node fra\./);
    expect(await toml.read()).toBe(before);
  });

  test('a node cannot use the store of another node, unless --store names it', async () => {
    await toml.write(
      (await toml.read()) + block(ID).replace('name = "fra"', 'name = "ams"').replaceAll('index.fra', 'index.ams'),
    );
    expect((await add('fra --region weur')).refused).toBe(
      'Store fra belongs to another node. Share it with --store fra, or choose another name.',
    );
    expect((await add('fra --region weur --store fra')).refused).toBeUndefined();
  });

  test.each([
    [
      'a database of that name',
      '[[env.production.d1_databases]]\nbinding = "DB_FRA"\ndatabase_name = "old"\n',
      /already has old/,
    ],
    [
      'a bucket of that name',
      '[[env.production.r2_buckets]]\nbinding = "X"\nbucket_name = "berth-fra-weur-ab12"\n',
      /already has berth-fra-weur-ab12/,
    ],
    ['a file that is not TOML', 'a = = b\n', /^cannot parse wrangler.toml: /],
  ])('%s', async (_, appended, reason) => {
    await toml.write(`${await toml.read()}\n${appended}`);
    const before = await toml.read();
    expect((await add('fra --region weur')).refused).toMatch(reason);
    expect(await toml.read()).toBe(before);
  });

  test.each([
    [
      'central without a host index.<domain>',
      'hosts = ["index.example.com"]',
      'hosts = ["example.com"]',
      /--domain <domain>/,
    ],
    [
      'a configuration that the Worker refuses',
      'grace_hours = 24\n\n[[env.p',
      'grace_hours = 0\n\n[[env.p',
      /REGISTRY.grace_hours/,
    ],
    [
      'routes that are written as a value',
      '[[env.production.routes]]\npattern = "index.example.com"\ncustom_domain = true\n',
      'routes = [{ pattern = "index.example.com", custom_domain = true }]\n',
      /cannot parse/,
    ],
  ])('%s', async (_, text, replacement, reason) => {
    const before = (await toml.read()).replace(text, replacement);
    expect(before).toContain(replacement);
    await toml.write(before);
    expect((await add('fra --region weur')).refused).toMatch(reason);
    expect(await toml.read()).toBe(before);
  });
});

describe('as a process', () => {
  const script = join(ROOT, 'src/local/add-node.ts');

  test('wrangler and npm from the PATH run in the folder of wrangler.toml; a refusal prints one line and exits with 1', async () => {
    const bin = join(toml.folder, 'bin');
    await mkdir(bin);
    const noted = join(toml.folder, 'noted');
    const note = '#!/bin/sh\necho "$(basename "$0") $* in $PWD, log ${WRANGLER_LOG-unset}" >> "$NOTED"\n';
    await writeFile(join(bin, 'wrangler'), `${note}[ "$1" = d1 ] && cat "$CREATED"\nexit 0\n`);
    await writeFile(join(bin, 'npm'), note);
    for (const name of ['wrangler', 'npm']) await chmod(join(bin, name), 0o755);
    await writeFile(join(toml.folder, 'created'), CREATED);
    const env = {
      ...process.env,
      PATH: `${bin}${delimiter}${process.env['PATH']}`,
      NOTED: noted,
      CREATED: join(toml.folder, 'created'),
      WRANGLER_LOG: undefined,
    };
    const args = [script, 'fra', '--region', 'weur', '--apply', '--config', toml.path];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env });
    expect(stdout).toContain('Successfully created DB');
    expect((await readFile(noted, 'utf8')).trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^wrangler d1 create berth-fra-weur-[0-9a-z]{4} --location weur in /),
      expect.stringMatching(/^wrangler r2 bucket create berth-fra-weur-[0-9a-z]{4} --location weur in /),
      `npm run types:generate in ${toml.folder}, log unset`,
      `npm run deploy in ${toml.folder}, log unset`,
    ]);
    expect(await toml.read()).toContain(`database_id = "${ID}"`);
    const other = args.with(3, 'enam');
    await expect(promisify(execFile)(process.execPath, other, { env })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^wrangler.toml already has node fra, with other values: .*\n$/),
    });
  });

  test('wrangler builds a deployment with the node', async () => {
    await toml.write((await toml.read()).replace('main = "src', `main = "${ROOT}src`));
    await add('fra --region weur');
    const wrangler = join(ROOT, 'node_modules/.bin/wrangler');
    const args = [
      'deploy',
      '--dry-run',
      '--env',
      'production',
      '--config',
      toml.path,
      '--outdir',
      join(toml.folder, 'worker'),
    ];
    const { stdout } = await promisify(execFile)(wrangler, args, { cwd: ROOT, env: { ...process.env, CI: 'true' } });
    expect(stdout).toMatch(/env\.DB_FRA \(berth-fra-weur-ab12\)\s+D1 Database/);
    expect(stdout).toMatch(/env\.BLOBS_FRA \(berth-fra-weur-ab12\)\s+R2 Bucket/);
    expect(stdout).toContain('--dry-run: exiting now.');
  });
});
