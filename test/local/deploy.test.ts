import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { deployCommand } from '../../src/local/deploy.ts';
import { importedText, readMigrations, sentText } from '../../src/local/migrations.ts';
import type { Ran } from '../../src/local/operator.ts';
import { wranglerTomlForEachTest } from '../support/local/operator.ts';

const toml = wranglerTomlForEachTest();
const MIGRATIONS = await readMigrations();
const NAMES = MIGRATIONS.map(({ name }) => name);
const DEPLOY = 'wrangler deploy --env production --no-experimental-provision';

/** A database of the account, as wrangler shows it. */
interface RemoteDatabase {
  recorded: readonly string[];
  /** The query API's behaviour when it runs the migrations. */
  apply(files: Record<string, string>): number;
  import(text: string): number;
  asked: number;
}

let database: RemoteDatabase;

beforeEach(async () => {
  await toml.write((await toml.read()).replace(/(?<=name = "berth-central"\ndatabase_id = ")[0-9-]+(?=" #)/, 'an-id'));
  database = {
    recorded: [],
    apply: () => {
      database.recorded = NAMES;
      return 0;
    },
    import: () => 0,
    asked: 0,
  };
});

async function deploy(status = 0) {
  const ran: string[] = [];
  const lines: string[] = [];
  const run = (command: readonly string[]): Ran => {
    const config = command[command.indexOf('--config') + 1] ?? '';
    ran.push(command.join(' ').replaceAll(dirname(config), '…'));
    if (command[1] === 'deploy') return { status, stdout: '' };
    const settings = JSON.parse(readFileSync(config, 'utf8')) as { d1_databases: object[] };
    expect(settings.d1_databases).toMatchObject([{ binding: 'DB_CENTRAL', database_id: 'an-id' }]);
    if (command[2] === 'migrations')
      return { status: database.apply(filesOf(join(dirname(config), 'migrations'))), stdout: '' };
    if (command.includes('--file'))
      return {
        status: database.import(readFileSync(command[command.indexOf('--file') + 1] ?? '', 'utf8')),
        stdout: '',
      };
    database.asked++;
    const rows = database.recorded.map((name) => ({ name }));
    return { status: 0, stdout: JSON.stringify([{ results: [] }, { results: rows }]) };
  };
  const refused = await deployCommand(['--config', toml.path], { print: (line) => void lines.push(line), run }).then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
  return { ran: ran.filter((command) => !command.includes('--json')), refused, screen: lines.join('\n') };
}

function filesOf(folder: string): Record<string, string> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

const APPLY = 'wrangler d1 migrations apply DB_CENTRAL --remote --config …/wrangler.json';
const importOf = (name: string) =>
  `wrangler d1 execute DB_CENTRAL --yes --file …/${name} --remote --config …/wrangler.json`;

test('a new database gets the migrations with one statement a line, then the code is deployed', async () => {
  let files = {};
  database.apply = (given) => {
    files = given;
    database.recorded = NAMES;
    return 0;
  };
  expect(await deploy()).toMatchObject({ refused: undefined, ran: [APPLY, DEPLOY] });
  expect(files).toEqual(Object.fromEntries(MIGRATIONS.map((each) => [each.name, sentText(each)])));
});

test('a database that has all migrations is asked once, and not migrated', async () => {
  database.recorded = NAMES;
  expect(await deploy()).toMatchObject({ refused: undefined, ran: [DEPLOY] });
  expect(database.asked).toBe(1);
});

describe('if the query API does not take the migrations', () => {
  beforeEach(() => {
    database.apply = () => 1;
  });

  test('each is imported with its record', async () => {
    const imported: string[] = [];
    database.import = (text) => {
      imported.push(text);
      return 0;
    };
    const { refused, ran, screen } = await deploy();
    expect([refused, ran]).toEqual([undefined, [APPLY, ...NAMES.map(importOf), DEPLOY]]);
    expect(imported).toEqual(MIGRATIONS.map(importedText));
    for (const [i, text] of imported.entries())
      expect(text).toContain(`;\nINSERT INTO d1_migrations (name) VALUES ('${NAMES[i]}');\n`);
    expect(screen).toContain('D1 did not take the migrations of DB_CENTRAL as a query. They are imported now.');
  });

  test('a migration whose answer was lost is not imported', async () => {
    database.apply = () => {
      database.recorded = NAMES;
      return 1;
    };
    expect(await deploy()).toMatchObject({ refused: undefined, ran: [APPLY, DEPLOY] });
  });

  test('a failed import ends the deployment, and the next one goes on', async () => {
    database.import = () => 1;
    const { refused, ran } = await deploy();
    expect(refused).toContain('0001_berth.sql could not be imported into DB_CENTRAL. Run `npm run deploy` again.');
    expect(ran).not.toContain(DEPLOY);
    database.import = () => 0;
    expect((await deploy()).refused).toBeUndefined();
    // It was imported, and only the answer was lost.
    database.recorded = NAMES;
    expect((await deploy()).ran).toEqual([DEPLOY]);
  });
});

test('nothing is deployed if the operator does not confirm the migrations', async () => {
  database.apply = () => 0;
  const { refused, ran } = await deploy();
  expect(refused).toContain('DB_CENTRAL lacks 0001_berth.sql, because the migration was not confirmed.');
  expect(ran).toEqual([APPLY]);
});

test('a deployment that fails says so', async () => {
  const { refused } = await deploy(1);
  expect(refused).toContain(`npx ${DEPLOY} failed. The databases are migrated. Run \`npm run deploy\` again.`);
});

test('a database without an id is refused', async () => {
  await toml.write((await toml.read()).replace('an-id', '00000000-0000-0000-0000-000000000000'));
  const { refused, ran } = await deploy();
  expect(refused).toMatch(/^wrangler.toml: set database_id in \[env.production\] for DB_CENTRAL \(wrangler d1 create/);
  expect(ran).toEqual([]);
});
