/** Checks the relative links and anchors of the documents. It does not check links to other sites. */
import { access, readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { type Document, parseMarkdown } from './markdown.ts';

/** Lists the documents of the repository, relative to its root: in the root, and below `docs` and `.github`. */
export async function documentsOf(root: string): Promise<string[]> {
  const below = await Promise.all(
    ['docs', '.github'].map(async (folder) => {
      const names = await readdir(join(root, folder), { recursive: true }).catch(() => []);
      return names.map((name) => join(folder, name));
    }),
  );
  return [...(await readdir(root)), ...below.flat()].filter((name) => name.endsWith('.md')).toSorted();
}

/** Describes each broken link, as in `docs/api.md:12: storage.md#quota: there is no such heading`. */
export async function brokenLinks(root: string, documents: readonly string[]): Promise<string[]> {
  const parsed = new Map<string, Document>();
  for (const name of documents) parsed.set(join(root, name), parseMarkdown(await readFile(join(root, name), 'utf8')));
  const broken = [];
  for (const [path, { links }] of parsed) {
    for (const { target, line } of links) {
      const problem = await problemOf(root, path, target, parsed);
      if (problem !== undefined) broken.push(`${relative(root, path)}:${line}: ${target}: ${problem}`);
    }
  }
  return broken;
}

async function problemOf(root: string, from: string, target: string, parsed: ReadonlyMap<string, Document>) {
  if (target === '') return 'the reference has no definition';
  if (/^(?:https?|mailto):/.test(target)) return undefined;
  const [file = '', anchor] = target.split('#');
  const path = file === '' ? from : resolve(dirname(from), file);
  if (relative(root, path).startsWith('..')) return 'it leaves the repository';
  const exists = await access(path).then(
    () => true,
    () => false,
  );
  if (!exists) return 'there is no such file';
  if (anchor === undefined) return undefined;
  return parsed.get(path)?.anchors.has(anchor) === true ? undefined : 'there is no such heading';
}
