/** The README and the pages of docs: every link leads somewhere, and a terminal can show them. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
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
  test('every relative link of a document leads to a file, and to a heading that it has', async () => {
    expect(documents.length).toBeGreaterThan(10);
    expect(await brokenLinks(ROOT, documents)).toEqual([]);
  });

  test('docs/README.md links every page', async () => {
    const linked = new Set((await read('docs/README.md')).links.map(({ target }) => `docs/${target.split('#')[0]}`));
    expect(pages.filter((name) => name.startsWith('docs/') && name !== 'docs/README.md' && !linked.has(name))).toEqual([]);
  });

  test('a link that leads nowhere is found, with its line', async () => {
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

describe('in a terminal', () => {
  test('the README has at most 130 lines', async () => {
    expect((await readFile(join(ROOT, 'README.md'), 'utf8')).split('\n').length - 1).toBeLessThanOrEqual(130);
  });
});
