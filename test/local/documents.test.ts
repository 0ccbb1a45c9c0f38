/**
 * Checks the README and the pages of docs: links, file names and names of tests are right, and the pages fit a
 * terminal.
 */
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { brokenLinks, documentsOf } from '../support/local/document-links.ts';
import { parseMarkdown } from '../support/local/markdown.ts';
import { ROOT } from '../support/local/operator.ts';

const documents = await documentsOf(ROOT);
const pages = documents.filter((name) => name === 'README.md' || /^docs\/[^/]+\.md$/.test(name));

const read = async (name: string) => parseMarkdown(await readFile(join(ROOT, name), 'utf8'));

describe('links', () => {
  test('every relative link of a document leads to an existing file and heading', async () => {
    expect(documents.length).toBeGreaterThan(10);
    expect(await brokenLinks(ROOT, documents)).toEqual([]);
  });

  test('docs/README.md links every page', async () => {
    const linked = new Set((await read('docs/README.md')).links.map(({ target }) => `docs/${target.split('#')[0]}`));
    expect(pages.filter((name) => name.startsWith('docs/') && name !== 'docs/README.md' && !linked.has(name))).toEqual(
      [],
    );
  });

  test('a broken link is reported with its line', async () => {
    const root = await mkdtemp(join(tmpdir(), 'berth-documents-'));
    try {
      await mkdir(join(root, 'docs'));
      await writeFile(join(root, 'docs/a.md'), '# A\n\n## Of `code`, twice\n\n## Of `code`, twice\n');
      await writeFile(
        join(root, 'README.md'),
        [
          '# Title',
          '[a](docs/a.md#of-code-twice) [b](docs/a.md#of-code-twice-1) [c](https://example.com/x) [d](#title) [e][E]',
          'a [link whose text goes',
          'on](docs/absent.md) here',
          '[x](docs/a.md#absent) `[y](docs/absent.md)` [z][absent] [up](../elsewhere.md)',
          '```sh',
          '[n](docs/absent.md)',
          '```',
          '[e]: docs/a.md#a',
        ].join('\n'),
      );
      expect(await brokenLinks(root, await documentsOf(root))).toEqual([
        'README.md:3: docs/absent.md: there is no such file',
        'README.md:5: docs/a.md#absent: there is no such heading',
        'README.md:5: ../elsewhere.md: it leaves the repository',
        'README.md:5: : the reference has no definition',
      ]);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});

describe('names', () => {
  test.each(pages)('%s: the files that it names exist', async (name) => {
    const { prose } = await read(name);
    const files = prose.flatMap(({ text }) => [...text.matchAll(FILE)].map(([, file = '']) => file));
    const missing = await Promise.all(files.map(async (file) => ((await pathOf(file)) === undefined ? [file] : [])));
    expect(missing.flat()).toEqual([]);
  });

  test('docs/conformance.md: each test that it names is in the file that it names', async () => {
    const { prose } = await read('docs/conformance.md');
    const text = prose.map((line) => line.text.trim()).join(' ');
    const named = [...text.matchAll(FILE_AND_TESTS)].flatMap(([, file = '', titles = '']) =>
      [...titles.matchAll(/"([^"]+)"/g)].map(([, title = '']) => ({ file, title })),
    );
    expect(named.length).toBeGreaterThan(100);
    const absent = await Promise.all(
      named.map(async ({ file, title }) => {
        const source = await readFile((await pathOf(file)) ?? '', 'utf8');
        // The page truncates long names with "…", and Markdown breaks lines.
        return source.includes(title.replace(/\s*…$/, '')) ? [] : [`${file}: ${title}`];
      }),
    );
    expect(absent.flat()).toEqual([]);
  });
});

/** A source file in a code span, as a path from the root, from `src` or from `test`. */
const FILE = /`((?:[\w.-]+\/)+[\w.-]+\.(?:ts|js|sql))`/g;
const FILE_AND_TESTS = /`([\w./-]+\.test\.ts)`((?:,? "[^"]+")+)/g;

async function pathOf(file: string): Promise<string | undefined> {
  for (const folder of ['', 'src', 'test']) {
    const path = join(ROOT, folder, file);
    const exists = await access(path).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  return undefined;
}

describe('in a terminal', () => {
  test('the README has at most 130 lines', async () => {
    expect((await readFile(join(ROOT, 'README.md'), 'utf8')).split('\n').length - 1).toBeLessThanOrEqual(130);
  });

  test.each(pages)('%s: prose has at most 100 characters a line', async (name) => {
    const { prose } = await read(name);
    const long = prose.filter(({ text }) => text.length > 100 && !/^(?:\||#|\[[^\]]+\]: )/.test(text.trim()));
    expect(long.map(({ number, text }) => `${name}:${number}: ${text}`)).toEqual([]);
  });

  test.each(pages)('%s: a cell of a table has at most 60 characters', async (name) => {
    const { prose } = await read(name);
    const wide = prose.filter(({ text }) => cellsOf(text).some((cell) => cell.length > 60));
    expect(wide.map(({ number, text }) => `${name}:${number}: ${text}`)).toEqual([]);
  });
});

/** Returns what the cells of a table's row show; a link shows its text. */
function cellsOf(line: string): string[] {
  if (!line.startsWith('|') || /^[|\s:-]+$/.test(line)) return [];
  return line.split(' | ').map((cell) =>
    cell
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/^\||\|$/g, '')
      .trim(),
  );
}
