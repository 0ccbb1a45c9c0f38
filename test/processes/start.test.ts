import { createHash } from 'node:crypto';
import { chmod, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts } from '../../src/local/simulators.ts';
import { comparePull, imageOf, loggedIn, pushSteps } from '../support/local/push.ts';
import {
  listeningAddresses,
  processesOf,
  removeFolder,
  type Server,
  startServer,
  temporaryFolder,
  until,
} from '../support/local/server.ts';

let folder: string;
let server: Server;

beforeEach(async () => {
  folder = await temporaryFolder();
  server = await startServer(folder);
});

afterEach(async () => {
  await server.kill();
  await removeFolder(folder);
});

test('npm start prints addresses, users and a push, and the printed users work', async () => {
  const screen = server.output();
  for (const said of [
    `console   http://console.localhost:${server.port + 3}`,
    `central   http://localhost:${server.port}   index.localhost`,
    `node1     http://localhost:${server.port + 1}   index.node1.localhost`,
    `node2     http://localhost:${server.port + 2}   index.node2.localhost`,
    `docker push localhost:${server.port + 1}/alice/alpine`,
    'alice-dev',
    'bob-dev',
    'platform-dev',
    'admin-dev',
    'docker push',
    'skopeo copy',
  ]) {
    expect(screen).toContain(said);
  }
  expect(screen.split('\n').length).toBeLessThanOrEqual(30);
  const status = async (name: string, path: string) =>
    (await fetch(new URL(path, server.url), { headers: { Authorization: loggedIn(server.url, name).authorization } }))
      .status;
  expect(await status('alice', '/v2/alice/app/tags/list')).toBe(404);
  expect(await status('alice', '/v2/bob/app/tags/list')).toBe(403);
  expect(await status('platform', '/v2/bob/app/tags/list')).toBe(404);
  expect(await status('admin', '/api/organizations')).toBe(200);
  expect((await fetch(`http://localhost:${server.port}/healthz`)).status).toBe(200);
});

test('the server listens on loopback only', async () => {
  const addresses = await listeningAddresses(server.pid);
  expect(addresses.length).toBeGreaterThan(0);
  // 127.0.0.1 and ::1 in the format of /proc.
  expect(
    addresses.filter((address) => address !== '0100007F' && address !== '00000000000000000000000001000000'),
  ).toEqual([]);
});

test('state survives a restart, and Ctrl-C stops every process', async () => {
  const image = imageOf(100_000);
  for (const step of pushSteps('alice/app', 'latest', image)) await step.run(loggedIn(server.url, 'alice'));
  expect(await server.interrupt()).toBe(0);
  expect(await processesOf(server.pid)).toEqual([]);
  await expect(fetch(server.url)).rejects.toThrow();
  expect((await stat(join(folder, 'secrets.json'))).mode & 0o777).toBe(0o600);
  server = await startServer(folder, server.port);
  await comparePull(loggedIn(server.url, 'alice'), 'alice/app', 'latest', image);
});

test('nobody else may read the state or the log, even if an earlier start left them open', async () => {
  const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
  const log = join(folder, 'log.jsonl');
  expect([await modeOf(folder), await modeOf(log)]).toEqual(['700', '600']);
  const inside = await Promise.all(
    (await readdir(folder, { recursive: true })).map((name) => modeOf(join(folder, name))),
  );
  expect(inside.filter((mode) => !mode.endsWith('00'))).toEqual([]);
  await server.interrupt();
  await chmod(folder, 0o755);
  await chmod(log, 0o644);
  server = await startServer(folder, server.port);
  expect([await modeOf(folder), await modeOf(log)]).toEqual(['700', '600']);
});

test('a folder with other files keeps its mode, and a warning is printed', async () => {
  const other = await temporaryFolder();
  try {
    await writeFile(join(other, 'thesis.txt'), '');
    await chmod(other, 0o755);
    await server.kill();
    server = await startServer(other, server.port);
    expect((await stat(other)).mode & 0o777).toBe(0o755);
    expect((await stat(join(other, 'log.jsonl'))).mode & 0o777).toBe(0o600);
    expect(server.output()).toContain(`chmod 700 ${other}`);
  } finally {
    await server.kill();
    await removeFolder(other);
  }
});

test('a state from before 0.2.0 is refused with one line, and stays unchanged', async () => {
  expect(await server.interrupt()).toBe(0);
  // Such a state has databases, but no record of the schema that they were made from.
  await rm(join(folder, 'schema'));
  await chmod(folder, 0o755);
  const before = await contentOf(folder);
  await expect(startServer(folder, server.port)).rejects.toThrow(
    `the databases in ${folder} were created by a version before 0.2.0, and this version cannot read them: ` +
      'move or delete that folder, then start again',
  );
  expect(await contentOf(folder)).toEqual(before);
  await rename(join(folder, 'd1'), join(folder, 'old-d1'));
  server = await startServer(folder, server.port);
  expect((await fetch(`http://localhost:${server.port}/healthz`)).status).toBe(200);
});

test('every line of the log is JSON, with its time first', async () => {
  await fetch(new URL('/v2/alice/app/tags/list', server.url));
  // workerd itself logs a body that breaks off.
  const socket = connect(server.port, '127.0.0.1');
  await new Promise<void>((done) =>
    socket.write('POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx', () => done()),
  );
  socket.resetAndDestroy();
  const log = join(folder, 'log.jsonl');
  await until(async () => (await readFile(log, 'utf8')).includes('"scheduled":"scrub"'));
  await server.interrupt();
  const lines = (await readFile(log, 'utf8')).split('\n').slice(0, -1);
  expect(lines.some((line) => line.includes('/v2/alice/app/tags/list'))).toBe(true);
  expect(lines.some((line) => line.includes('"scheduled":"maintenance"'))).toBe(true);
  expect(lines.some((line) => line.includes('"scheduled":"scrub"'))).toBe(true);
  for (const line of lines) {
    expect(line).toMatch(/^\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",/);
    expect(() => JSON.parse(line) as unknown).not.toThrow();
  }
});

test('a port in use, and an invalid port, are reported in one line', async () => {
  const [first = 0] = await freePorts();
  const takenBy = (port: number, name: string, start: number) =>
    `port ${port} (${name}) is in use: Berth needs ${start} to ${start + 3}; choose other ports with PORT=<first port>`;
  await expect(startServer(folder, server.port)).rejects.toThrow(takenBy(server.port, 'central', server.port));
  const other = createServer();
  await new Promise<void>((done) => other.listen(first + 1, '127.0.0.1', done));
  try {
    await expect(startServer(folder, first)).rejects.toThrow(takenBy(first + 1, 'node1', first));
  } finally {
    await new Promise((done) => other.close(done));
  }
  await expect(startServer(folder, 65_534)).rejects.toThrow('port 65536 (node2) does not exist');
  await expect(startServer(folder, 99_999)).rejects.toThrow('PORT must be a port number');
});

/** Returns the path, mode, modification time and content hash of a folder and everything below it. */
async function contentOf(path: string): Promise<string[]> {
  const paths = [path, ...(await readdir(path, { recursive: true })).toSorted().map((name) => join(path, name))];
  return Promise.all(
    paths.map(async (each) => {
      const { mode, mtimeMs } = await stat(each);
      const hash = createHash('sha256').update((mode & 0o170000) === 0o100000 ? await readFile(each) : '');
      return `${each} ${mode.toString(8)} ${mtimeMs} ${hash.digest('hex')}`;
    }),
  );
}
