/** D1's query API splits the migration, its statements create the schema, and docs/schema.md describes it. */
import { readFile } from 'node:fs/promises';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unstable_splitSqlQuery } from 'wrangler';
import { importedText, readMigrations, sentText } from '../../src/local/migrations.ts';
import { MIGRATIONS as LISTED } from '../../src/stores/migration-names.ts';

const FOLDER = new URL('../../src/stores/migrations/', import.meta.url);
const MIGRATIONS = await readMigrations();
const TEXTS = Object.fromEntries(
  await Promise.all(MIGRATIONS.map(async ({ name }) => [name, await readFile(new URL(name, FOLDER), 'utf8')] as const)),
);
const PAGE = await readFile(new URL('../../docs/schema.md', import.meta.url), 'utf8');

/** Splits as #4713, #4326 and #15314 report: a quote opens a string anywhere, BEGIN is upper case, any END closes. */
function splitAtSemicolons(text: string): string[] {
  const statements: string[] = [];
  let start = 0;
  let quoted = false;
  let inTrigger = false;
  for (const { 0: token, index } of text.matchAll(/'|;|\bBEGIN\b|\bEND\b/g)) {
    if (token === "'") quoted = !quoted;
    else if (quoted) continue;
    else if (token !== ';') inTrigger = token === 'BEGIN';
    else if (!inTrigger) {
      statements.push(text.slice(start, index).trim());
      start = index + 1;
    }
  }
  const rest = text.slice(start).trim();
  return rest === '' ? statements : [...statements, rest];
}

/** Splits as #4998 and #15690 report, and as `exec` of D1's binding does: each line is a statement. */
function splitAtLines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim().replace(/;$/, ''))
    .filter((line) => line !== '');
}

const SPLITTERS = [
  ['semicolons', splitAtSemicolons],
  ['lines', splitAtLines],
  ["wrangler's rules", unstable_splitSqlQuery],
] as const;

test('the Worker knows every migration', () => {
  expect(LISTED).toEqual(MIGRATIONS.map(({ name }) => name));
});

describe.each(MIGRATIONS.map((migration) => [migration.name, migration] as const))('%s', (name, migration) => {
  const text = TEXTS[name] ?? '';

  test.each(SPLITTERS)('is sent as a text that a splitter by %s cuts into its statements', (_, split) => {
    expect(migration.statements.length).toBeGreaterThan(0);
    expect(split(sentText(migration)).map(withoutSpace)).toEqual(
      migration.statements.map((statement) =>
        withoutSpace(statement).replace(/^(CREATE(?:UNIQUE)?(?:TABLE|INDEX|VIEW|TRIGGER))/, '$1IFNOTEXISTS'),
      ),
    );
  });

  test('there is no comment, no CRLF, no CASE, and no keyword in lower case', () => {
    const code = text.replaceAll(/'[^']*'/g, "''");
    expect(code).not.toMatch(/--|\/\*|\r|\bCASE\b/i);
    expect(code).not.toMatch(
      /\b(?:create|table|index|view|trigger|begin|end|insert|update|delete|select|from|where|and|or|not)\b/,
    );
    expect((text.match(/'[^']*'/g) ?? []).filter((literal) => literal.includes('\n'))).toEqual([]);
  });

  test('BEGIN and END are on lines of their own', () => {
    const lines = text.split('\n').filter((line) => /\b(?:BEGIN|END)\b/.test(line));
    expect(lines.filter((line) => line !== 'BEGIN' && line !== 'END;')).toEqual([]);
  });
});

function withoutSpace(text: string): string {
  return text.replaceAll(/\s/g, '');
}

test.each([
  ['an apostrophe in a comment', splitAtSemicolons, "-- it's\nSELECT 1;\nSELECT 2;\n"],
  ['a semicolon in a comment', splitAtSemicolons, 'SELECT 1;\n-- one; two\nSELECT 2;\n'],
  ['a trigger in lower case', splitAtSemicolons, 'CREATE TRIGGER a AFTER INSERT ON b\nbegin\n  SELECT 1;\nend;\n'],
  [
    'a CASE in a trigger',
    splitAtSemicolons,
    'CREATE TRIGGER a AFTER INSERT ON b\nBEGIN\n  SELECT CASE WHEN 1 THEN 2 END;\nEND;\n',
  ],
  ['a trigger of several lines', splitAtLines, 'CREATE TRIGGER a AFTER INSERT ON b\nBEGIN\n  SELECT 1;\nEND;\n'],
])('a splitter fails on %s, as reported', (_what, split, text) => {
  expect(split(text)).not.toEqual(unstable_splitSqlQuery(text));
});

describe('on an empty D1', () => {
  let miniflare: Miniflare;
  let database: Awaited<ReturnType<Miniflare['getD1Database']>>;

  beforeAll(async () => {
    miniflare = new Miniflare(
      convertV4MiniflareOptions({
        host: '127.0.0.1',
        port: 0,
        cf: false,
        workers: [
          {
            name: 'migrations',
            modules: [{ type: 'ESModule', path: 'index.js', contents: 'export default {};' }],
            d1Databases: { DB: 'migrations', SENT: 'sent' },
          },
        ],
      }),
    );
    database = await miniflare.getD1Database('DB', 'migrations');
    for (const statement of MIGRATIONS.flatMap(({ statements }) => statements)) await database.prepare(statement).run();
  });

  afterAll(async () => miniflare.dispose());

  const namesOf = async (type: string) => {
    const { results } = await database
      .prepare(
        "SELECT name FROM sqlite_master WHERE type = ?1 AND name NOT GLOB '_cf*' AND name NOT GLOB 'sqlite*' ORDER BY rowid",
      )
      .bind(type)
      .all<{ name: string }>();
    return results.map(({ name }) => name);
  };

  test('each statement runs by itself, and the clock starts at 0', async () => {
    expect(await database.prepare('SELECT * FROM clock').all()).toMatchObject({
      results: [{ id: 1, version: 0, commit_id: '' }],
    });
  });

  test('the sent text makes the same schema line by line, and may be sent again', async () => {
    const sent = await miniflare.getD1Database('SENT', 'migrations');
    for (const migration of MIGRATIONS) await sent.exec(sentText(migration));
    const again = MIGRATIONS.filter(
      ({ statements: [first = '', ...rest] }) => !first.startsWith('ALTER TABLE ') || rest.length > 0,
    );
    for (const migration of again) await sent.exec(importedText(migration));
    const schemaOf = async (of: typeof database) => {
      const { results } = await of
        .prepare("SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB '_cf*' ORDER BY name")
        .all<{ type: string; name: string; sql: string | null }>();
      return results
        .filter(({ name }) => !/d1_migrations|^sqlite_sequence$/.test(name))
        .map(({ type, name, sql }) => [type, name, withoutSpace(sql ?? '').replace('IFNOTEXISTS', '')]);
    };
    expect(await schemaOf(sent)).toEqual(await schemaOf(database));
    expect(await sent.prepare('SELECT name FROM d1_migrations').all()).toMatchObject({
      results: again.map(({ name }) => ({ name })),
    });
    expect(await sent.prepare('SELECT count(*) AS rows FROM clock').first()).toEqual({ rows: 1 });
  });

  test('docs/schema.md has every table with every column, in the order of the schema', async () => {
    const tables = await namesOf('table');
    const columns = await database.batch<{ name: string }>(
      tables.map((table) => database.prepare('SELECT name FROM pragma_table_xinfo(?1) ORDER BY cid').bind(table)),
    );
    const sections = PAGE.split(/^### /m).slice(1);
    const described = sections.map((section) => [
      section.slice(0, section.indexOf('\n')),
      [...section.matchAll(/^\| `(\w+)` +\|[^|]+\|$/gm)].map(([, name]) => name),
    ]);
    expect(described).toEqual(tables.map((table, i) => [table, columns[i]?.results.map(({ name }) => name)]));
  });

  test.each(['index', 'view', 'trigger'])('docs/schema.md explains every %s', async (type) => {
    const names = await namesOf(type);
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !PAGE.includes(`\`${name}\``))).toEqual([]);
  });

  test('docs/schema.md names no index, view or trigger that does not exist', async () => {
    const all = new Set((await Promise.all(['index', 'view', 'trigger'].map(namesOf))).flat());
    const named = [
      ...PAGE.matchAll(/`((?:usage|count|document|link|manifests|locations|tags)_(?:of|by|in|has)_\w+)`/g),
    ];
    expect(named.map(([, name]) => name ?? '').filter((name) => !all.has(name))).toEqual([]);
  });
});
