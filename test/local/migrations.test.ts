/** How D1's query API splits a migration, what its statements create, and what docs/schema.md says about it. */
import { readdir, readFile } from 'node:fs/promises';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unstable_splitSqlQuery } from 'wrangler';
import { MIGRATIONS as LISTED } from '../../src/stores/migration-names.ts';

const MIGRATIONS = new URL('../../src/stores/migrations/', import.meta.url);
const NAMES = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).toSorted();
const TEXTS = await Promise.all(NAMES.map((name) => readFile(new URL(name, MIGRATIONS), 'utf8')));
const PAGE = await readFile(new URL('../../docs/schema.md', import.meta.url), 'utf8');

/**
 * Splits as badly as D1's query API does by the reports that docs/schema.md links: an apostrophe opens a string
 * anywhere, BEGIN counts in upper case only, and any END ends a trigger.
 */
function splitNaively(text: string): string[] {
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

test('the Worker knows every migration', () => {
  expect(LISTED).toEqual(NAMES);
});

describe.each(NAMES.map((name, i) => [name, TEXTS[i] ?? ''] as const))('%s', (_name, text) => {
  test("a naive splitter finds the same statements as wrangler's", () => {
    const statements = splitNaively(text);
    expect(statements.length).toBeGreaterThan(0);
    expect(statements).toEqual(unstable_splitSqlQuery(text));
  });

  test('there is no comment, no CRLF, no CASE, and no keyword in lower case', () => {
    const code = text.replaceAll(/'[^']*'/g, "''");
    expect(code).not.toMatch(/--|\/\*|\r|\bCASE\b/i);
    expect(code).not.toMatch(
      /\b(?:create|table|index|view|trigger|begin|end|insert|update|delete|select|from|where|and|or|not)\b/,
    );
  });

  test('BEGIN and END are on lines of their own', () => {
    const lines = text.split('\n').filter((line) => /\b(?:BEGIN|END)\b/.test(line));
    expect(lines.filter((line) => line !== 'BEGIN' && line !== 'END;')).toEqual([]);
  });
});

test.each([
  ['an apostrophe in a comment', "-- it's\nSELECT 1;\nSELECT 2;\n"],
  ['a semicolon in a comment', 'SELECT 1;\n-- one; two\nSELECT 2;\n'],
  ['a trigger in lower case', 'CREATE TRIGGER a AFTER INSERT ON b\nbegin\n  SELECT 1;\nend;\n'],
  ['a CASE in a trigger', 'CREATE TRIGGER a AFTER INSERT ON b\nBEGIN\n  SELECT CASE WHEN 1 THEN 2 END;\nEND;\n'],
])('the check detects %s', (_what, text) => {
  expect(splitNaively(text)).not.toEqual(unstable_splitSqlQuery(text));
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
            d1Databases: { DB: 'migrations' },
          },
        ],
      }),
    );
    database = await miniflare.getD1Database('DB', 'migrations');
    for (const statement of TEXTS.flatMap(splitNaively)) await database.prepare(statement).run();
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
