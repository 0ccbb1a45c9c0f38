/**
 * Checks that nothing in `src` reads the rows of a batch by position, because a new statement would shift them. The
 * types refuse most of this, but not after a cast or with a record of any key.
 */
import { readdir, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';

/**
 * Matches, after a value: `[0]`, `[2 * i]`, `[clear.length]`, `.at(-1)`, `.slice(-4)`, `.then(([rows]) => …)`; not
 * `[nameOf(image)]`.
 */
const POSITION = String.raw`\s*\)*\s*(?:(?:\?\.)?\[\s*(?:-?\d|\(|\w+\s*[-+*]|[ij]\b|[\w.]+\.length)|\??\.(?:at|slice|flat|shift|pop)\(|\.then\(\s*\(?\[)`;

const DESTRUCTURED = /(?<=\]\s*=\s*[^;=[]*?)\.batch\b/g;
const NAMED = /(?<=(?:const|let) (\w+) = [^;=[]*?)\.batch\b/g;

/** Returns the source after a call; `start` is a position before its arguments. */
function afterCall(source: string, start: number): string {
  let depth = 0;
  for (let i = source.indexOf('(', start); i < source.length; i++) {
    if ('([{'.includes(source.charAt(i))) depth++;
    else if (')]}'.includes(source.charAt(i)) && --depth === 0) return source.slice(i + 1);
  }
  return '';
}

/** Returns the lines of batches whose results are read by position. */
function positionalResults(source: string): number[] {
  const found = [...source.matchAll(DESTRUCTURED)].map(({ index }) => index);
  for (const { index } of source.matchAll(/\.batch\b(?=[(<])/g)) {
    if (new RegExp(`^${POSITION}`).test(afterCall(source, index))) found.push(index);
  }
  for (const { index, 1: name } of source.matchAll(NAMED)) {
    const use = new RegExp(String.raw`\b${name}\b${POSITION}|\]\s*=\s*(?:await )?${name}\b`);
    if (use.test(afterCall(source, index))) found.push(index);
  }
  return [...new Set(found)].map((index) => source.slice(0, index).split('\n').length);
}

test.each([
  'const [, , rows] = await database.batch<[object, object, Row]>([a, b, c]);',
  'const [[clock]] = await central.batch([selectClock()]);',
  'const [\n  before,\n  after,\n] = await this.#store.database.batch({ a, b });',
  'const [kept] = (\n  await node.database.batch([\n    [A, f(1)],\n    [B],\n  ])\n).slice(-1);',
  'const rows = (await database.batch({ a }))[0];',
  'const last = (await database.batch([a, b])).at(-1);',
  'const results = await database.batch([a, ...more]);\nreturn results.at(-1)?.length;',
  'const results = await database.batch<object[]>([...tagged, ...untagged]);\nreturn results.slice(0, tagged.length).flat();',
  'const results = await database.batch([...clear, a]);\nconst inserted = results[clear.length];',
  'const rows = await database.batch(both);\nreturn read.map((_, i) => rows[2 * i + 1]);',
  'const results = await database.batch([a, b]);\nconst [first] = results;',
  'const results = await database.batch(each.flat());\nreturn results[(end += each.length) - 1];',
  'const told = central.database.batch([selectUsage()]);\nreturn answerOf(told).then(([usage]) => usage);',
])('finds %j', (source) => {
  expect(positionalResults(source)).toHaveLength(1);
});

test.each([
  'const { session } = await database.batch({ session: selectUpload(id) });\nreturn session[0];',
  'const [a, b] = await Promise.all([database.batch({ c }), other()]);',
  'const counts = await database.batch(byName(roots, ask));\nreturn counts[nameOf(root)]?.[0]?.count;',
  'await database.batch([a, b]);\nconst [first] = list;',
])('passes %j', (source) => {
  expect(positionalResults(source)).toEqual([]);
});

test('src reads every batch by name', async () => {
  const folder = new URL('../../src/', import.meta.url);
  const files = (await readdir(folder, { recursive: true })).filter((path) => path.endsWith('.ts'));
  const sources = await Promise.all(
    files.map(async (path) => [path, await readFile(new URL(path, folder), 'utf8')] as const),
  );
  expect(sources.filter(([, source]) => source.includes('.batch(')).length).toBeGreaterThan(20);
  const found = sources.flatMap(([path, source]) => positionalResults(source).map((line) => `src/${path}:${line}`));
  expect(found).toEqual([]);
});
