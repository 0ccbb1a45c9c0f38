import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clientOf, digestIn } from '../cli/images/client.ts';
import { blobsOf } from '../cli/images/layout.ts';
import { PROGRAM } from '../cli/support/berth.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { until } from '../support/local/server.ts';

const MEBIBYTE = 1024 ** 2;
const client = clientOf(serverForFile());
const { run, layoutAt, wire } = client;

/** Starts a program that the test will stop. */
function started(args: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<unknown[]> } {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: { PATH: process.env['PATH'], ...client.env },
    stdio: 'ignore',
  });
  return { child, ended: once(child, 'exit') };
}

test('after kill -9, the next push sends the rest, and at most one chunk a layer again', async () => {
  const layout = layoutAt('killed');
  const sizes = [24 * MEBIBYTE, 20 * MEBIBYTE];
  const image = await layout.image(sizes);
  await layout.list(image, '1');
  const { wire: counted, at } = await wire();
  const args = ['push', '--chunk', '2', layout.folder, `${at}/alice/killed:1`];
  const { child, ended } = started(args);
  await until(() => counted.sent > 20 * MEBIBYTE);
  child.kill('SIGKILL');
  await ended;
  const state = join(client.folder, 'state/berth/uploads');
  const left = await readdir(state);
  expect(left).toHaveLength(2);
  for (const name of left) expect((await stat(join(state, name))).mode & 0o777).toBe(0o600);

  const before = counted.sent;
  expect(digestIn(await run(args))).toBe(image.digest);
  const all = 44 * MEBIBYTE;
  // Bytes that left the client may not have reached the registry: a chunk of each layer was under way.
  expect(counted.sent).toBeLessThan(all + 2 * 2 * MEBIBYTE + 200_000);
  expect(counted.sent - before).toBeLessThan(all - 20 * MEBIBYTE + 2 * 2 * MEBIBYTE + 200_000);
  expect(await readdir(state)).toEqual([]);
});

test('Ctrl-C leaves uploads that the next push goes on with', async () => {
  const layout = layoutAt('interrupted');
  await layout.list(await layout.image([16 * MEBIBYTE]), '1');
  const { wire: counted, at } = await wire();
  const args = ['push', '--chunk', '2', layout.folder, `${at}/alice/interrupted:1`];
  const { child, ended } = started(args);
  await until(() => counted.sent > 8 * MEBIBYTE);
  child.kill('SIGINT');
  expect(await ended).toEqual([null, 'SIGINT']);
  await run(args);
  expect(counted.sent).toBeLessThan(18 * MEBIBYTE + 200_000);
});

test('a pull whose connection breaks goes on where it stopped', async () => {
  const layout = layoutAt('broken');
  await layout.list(await layout.image([12 * MEBIBYTE, 9 * MEBIBYTE]), '1');
  await run(['push', layout.folder, `${client.host}/alice/broken:1`]);
  const { wire: counted, at } = await wire();
  counted.breaks = [5 * MEBIBYTE, 5 * MEBIBYTE];
  await run(['pull', `${at}/alice/broken:1`, join(client.folder, 'unbroken')]);
  expect(counted.breaks).toEqual([]);
  expect(await blobsOf(join(client.folder, 'unbroken'))).toEqual(await blobsOf(layout.folder));
  expect(counted.received).toBeLessThan(28 * MEBIBYTE);
});

test('a pull that was killed goes on with the bytes that it has', async () => {
  const layout = layoutAt('pulled-twice');
  await layout.list(await layout.image([12 * MEBIBYTE]), '1');
  await run(['push', layout.folder, `${client.host}/alice/twice:1`]);
  const { wire: counted, at } = await wire();
  const args = ['pull', '--jobs', '1', `${at}/alice/twice:1`, join(client.folder, 'twice')];
  const { child, ended } = started(args);
  await until(() => counted.received > 6 * MEBIBYTE);
  child.kill('SIGKILL');
  await ended;
  await run(args);
  expect(await blobsOf(join(client.folder, 'twice'))).toEqual(await blobsOf(layout.folder));
});
