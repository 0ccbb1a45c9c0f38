import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TarFiles } from '../../../cli/src/images/tar-files.ts';
import { writeTar } from '../../../cli/src/images/tar-writer.ts';

let folder: string;
const LONG = `${'deep/'.repeat(30)}file`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-tar-'));
  await mkdir(join(folder, 'in/deep/'.concat('deep/'.repeat(29))), { recursive: true });
  await writeFile(join(folder, 'in', LONG), 'far away');
  await writeFile(join(folder, 'in/short'), 'near');
  await writeFile(join(folder, 'in/empty'), '');
  execFileSync('ln', ['-s', '../short', join(folder, 'in/deep/link')]);
});
afterAll(() => rm(folder, { recursive: true }));

const textOf = async (files: TarFiles, path: string): Promise<string | undefined> => {
  const bytes = await files.read(path);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
};

test.each(['gnu', 'pax', 'ustar'])('an archive in the format %s is read in place', async (format) => {
  const archive = join(folder, `${format}.tar`);
  execFileSync('tar', [
    '--create',
    `--format=${format}`,
    '--file',
    archive,
    '--directory',
    join(folder, 'in'),
    './short',
    '.',
  ]);
  const files = await TarFiles.open(archive);
  expect(await textOf(files, 'short')).toBe('near');
  expect(await textOf(files, 'deep/link')).toBe('near');
  expect(await textOf(files, LONG)).toBe('far away');
  expect([await files.sizeOf('empty'), await files.sizeOf('deep'), await files.sizeOf('absent')]).toEqual([
    0,
    undefined,
    undefined,
  ]);
  expect(await new Response(files.open(LONG, 4, 8)).text()).toBe('away');
});

test('tar reads an archive that is written here', async () => {
  const archive = join(folder, 'written.tar');
  const entry = (path: string, text: string) => ({ path, size: text.length, open: () => new Blob([text]).stream() });
  await writeTar(archive, [entry('blobs/a', 'x'.repeat(513)), entry('empty', '')]);
  const listed = execFileSync('tar', ['--list', '--verbose', '--file', archive], { encoding: 'utf8' });
  expect(listed.split('\n').map((line) => line.split(/\s+/).filter((_, i) => i === 2 || i === 5))).toEqual([
    ['513', 'blobs/a'],
    ['0', 'empty'],
    [],
  ]);
});

test.each([95, 100, 101, 140, 1000])('tar and berth can read a path of %d bytes that was written', async (length) => {
  const archive = join(folder, `path-${length}.tar`);
  // Each 'ä' has two bytes. An 'a' before them makes the length odd.
  const path = length % 2 === 0 ? 'ä'.repeat(length / 2) : `a${'ä'.repeat((length - 1) / 2)}`;
  const entry = (name: string, text: string) => ({
    path: name,
    size: text.length,
    open: () => new Blob([text]).stream(),
  });
  await writeTar(archive, [entry(path, 'long'), entry('short', 'after it')]);
  const listed = execFileSync('tar', ['--list', '--quoting-style=literal', '--file', archive], { encoding: 'utf8' });
  expect(listed).toBe(`${path}\nshort\n`);
  const files = await TarFiles.open(archive);
  expect([await textOf(files, path), await textOf(files, 'short')]).toEqual(['long', 'after it']);
});

test.each([
  [
    'compressed',
    Buffer.from([0x1f, 0x8b, ...Array<number>(600).fill(1)]),
    /is compressed: unpack it first, with gunzip/,
  ],
  ['other', Buffer.alloc(600, 'no tar'), /is not a tar archive/],
])('a file that is not an archive is refused, and the message says why: %s', async (name, bytes, message) => {
  const file = join(folder, name);
  await writeFile(file, bytes);
  await expect(TarFiles.open(file)).rejects.toThrow(message);
});
