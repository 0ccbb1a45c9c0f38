/** Writes `dist/LICENSES`: the licenses of Berth and of each package in the bundle, which copies have to carry. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const { inputs } = JSON.parse(await readFile(join(here, 'dist/meta.json'), 'utf8')) as { inputs: object };
const packages = new Set(
  Object.keys(inputs).flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []),
);

async function licenseOf(folder: string): Promise<string> {
  const name = (await readdir(folder)).find((file) => /^licen[cs]e/i.test(file));
  if (name === undefined) throw new Error(`${folder} has no license: find it before the bundle is given to others`);
  return readFile(join(folder, name), 'utf8');
}

const parts = await Promise.all(
  ['..', ...packages].map(async (path) => {
    const title = path === '..' ? 'Berth' : path.replace(/^.*node_modules\//, '');
    return `${title}\n\n${await licenseOf(join(here, path))}`;
  }),
);
await writeFile(join(here, 'dist/LICENSES'), parts.join(`\n${'-'.repeat(72)}\n\n`));
