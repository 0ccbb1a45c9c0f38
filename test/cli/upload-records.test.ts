import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UploadFiles } from '../../cli/src/upload-records.ts';

let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'berth-records-')), 'uploads');
});
afterEach(() => rm(join(folder, '..'), { recursive: true }));

const KEY = 'https://registry.example/acme/app@sha256:abc';
const LOCATION = 'https://registry.example/v2/acme/app/blobs/uploads/secret';

test('a record is kept from one push to the next, readable by the user alone', async () => {
  await new UploadFiles(folder).write(KEY, LOCATION);
  expect(await new UploadFiles(folder).read(KEY)).toBe(LOCATION);
  const [name = ''] = await readdir(folder);
  expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  await new UploadFiles(folder).remove(KEY);
  expect(await new UploadFiles(folder).read(KEY)).toBeUndefined();
});

test('an upload is left to the process that sends into it, until that process has ended', async () => {
  const other = spawn(process.execPath, ['--eval', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = once(other, 'exit');
  const records = new UploadFiles(folder);
  await records.write(KEY, LOCATION);
  const [name = ''] = await readdir(folder);
  await writeFile(join(folder, name), `${LOCATION}\n${other.pid}`);
  expect(await records.read(KEY)).toBeUndefined();
  other.stdin.end();
  await ended;
  expect(await records.read(KEY)).toBe(LOCATION);
});

test('a record is forgotten once no registry can know the upload', async () => {
  const records = new UploadFiles(folder);
  await records.write(KEY, LOCATION);
  await records.prune();
  expect(await records.read(KEY)).toBe(LOCATION);
  const [name = ''] = await readdir(folder);
  const longAgo = Date.now() / 1000 - 8 * 86_400;
  await utimes(join(folder, name), longAgo, longAgo);
  await records.prune();
  expect(await readdir(folder)).toEqual([]);
});

test('nothing is forgotten where there is nothing', async () => {
  await new UploadFiles(join(folder, 'absent')).prune();
});
