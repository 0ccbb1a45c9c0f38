/** Compares the documents for contributors with the repository. */
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../support/local/operator.ts';

const read = (name: string) => readFile(join(ROOT, name), 'utf8');
const json = async (name: string) =>
  JSON.parse(await read(name)) as { version: string; scripts: Record<string, string> };

const decisions = (await readdir(join(ROOT, 'docs/decisions'))).filter((name) => /^\d{4}-/.test(name));
const pages = ['CONTRIBUTING.md', 'SECURITY.md', ...decisions.map((name) => `docs/decisions/${name}`)];

test('the version is the same in package.json, the lock and the latest release of the changelog', async () => {
  const { version } = await json('package.json');
  expect((await json('package-lock.json')).version).toBe(version);
  expect(/^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$/m.exec(await read('CHANGELOG.md'))?.[1]).toBe(version);
});

test.each(pages)('%s names only commands and files that exist', async (page) => {
  const text = await read(page);
  const { scripts } = await json('package.json');
  const commands = [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name = '']) => name);
  expect(commands.filter((name) => scripts[name] === undefined)).toEqual([]);
  // Placeholders, such as <name>, are skipped. Another test checks the links between documents.
  const files = [...text.matchAll(/`((?:src|test|deploy)\/[\w./-]+)`/g)].map(([, path = '']) => path);
  const missing = await Promise.all(
    files.map((path) =>
      access(join(ROOT, path)).then(
        () => [],
        () => [path],
      ),
    ),
  );
  expect(missing.flat()).toEqual([]);
});

test('CONTRIBUTING.md has every folder of src on its map', async () => {
  const map = await read('CONTRIBUTING.md');
  const entries = await readdir(join(ROOT, 'src'), { recursive: true, withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name));
  const below = folders.map((folder) => folder.slice(ROOT.length).replace(/^\//, ''));
  expect(below.filter((folder) => !map.includes(`\`${folder}/\``) && !folder.startsWith('src/http/'))).toEqual([]);
});

test('every decision has its four parts on one page, and a line in the list', async () => {
  expect(decisions.length).toBeGreaterThanOrEqual(10);
  const list = await read('docs/decisions/README.md');
  for (const name of decisions) {
    const lines = (await read(`docs/decisions/${name}`)).trimEnd().split('\n');
    const parts = lines.filter((line) => line.startsWith('## '));
    expect([name, parts]).toEqual([name, ['## Context', '## Decision', '## Rejected', '## Consequences']]);
    expect([name, lines.length <= 80, list.includes(`(${name})`)]).toEqual([name, true, true]);
  }
});
