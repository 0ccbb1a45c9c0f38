import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, utimes } from 'node:fs/promises';
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

async function startProcess(): Promise<{ readonly id: number; readonly end: () => Promise<unknown> }> {
  const child = spawn(process.execPath, ['--eval', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = once(child, 'exit');
  await once(child, 'spawn');
  const end = (): Promise<unknown> => {
    child.stdin.end();
    return ended;
  };
  return { id: child.pid ?? 0, end };
}

test('two pushes of one blob at once each keep a record of their own', async () => {
  const other = await startProcess();
  const [ours, theirs] = [new UploadFiles(folder), new UploadFiles(folder, other.id)];
  await theirs.write(KEY, `${LOCATION}-of-theirs`);
  expect(await ours.read(KEY)).toBeUndefined();
  await ours.write(KEY, LOCATION);
  expect(await ours.read(KEY)).toBe(LOCATION);
  expect(await theirs.read(KEY)).toBe(`${LOCATION}-of-theirs`);
  await ours.remove(KEY);
  expect(await theirs.read(KEY)).toBe(`${LOCATION}-of-theirs`);
  await other.end();
});

test('only one push continues what an ended push has left', async () => {
  const ended = await startProcess();
  await new UploadFiles(folder, ended.id).write(KEY, LOCATION);
  await ended.end();
  const pushes = [new UploadFiles(folder), new UploadFiles(folder, process.ppid)];
  const found = await Promise.all(pushes.map((push) => push.read(KEY)));
  expect(found.filter((location) => location !== undefined)).toEqual([LOCATION]);
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

test('pruning works when there is nothing to forget', async () => {
  await new UploadFiles(join(folder, 'absent')).prune();
});
