import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
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

test('npm start prints addresses, users and a push; its users can do what it says', async () => {
  const screen = server.output();
  for (const said of [
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
  expect(screen.split('\n').length).toBeLessThan(30);
  const status = async (name: string, path: string) =>
    (await fetch(new URL(path, server.url), { headers: { Authorization: loggedIn(server.url, name).authorization } })).status;
  expect(await status('alice', '/v2/alice/app/tags/list')).toBe(404);
  expect(await status('alice', '/v2/bob/app/tags/list')).toBe(403);
  expect(await status('platform', '/v2/bob/app/tags/list')).toBe(404);
  expect(await status('admin', '/api/organizations')).toBe(200);
  expect((await fetch(`http://localhost:${server.port}/healthz`)).status).toBe(200);
});

test('it listens on loopback alone', async () => {
  const addresses = await listeningAddresses(server.pid);
  expect(addresses.length).toBeGreaterThan(0);
  // 127.0.0.1 and ::1, as /proc writes them.
  expect(addresses.filter((address) => address !== '0100007F' && address !== '00000000000000000000000001000000')).toEqual([]);
});

test('state survives a restart, Ctrl-C stops everything and leaves nothing behind', async () => {
  const image = imageOf(100_000);
  for (const step of pushSteps('alice/app', 'latest', image)) await step.run(loggedIn(server.url, 'alice'));
  expect(await server.interrupt()).toBe(0);
  expect(await processesOf(server.pid)).toEqual([]);
  await expect(fetch(server.url)).rejects.toThrow();
  expect((await stat(join(folder, 'secrets.json'))).mode & 0o777).toBe(0o600);
  server = await startServer(folder, server.port);
  await comparePull(loggedIn(server.url, 'alice'), 'alice/app', 'latest', image);
});

test('a port in use, and one that is none, are said in a line', async () => {
  const [first = 0] = await freePorts();
  const takenBy = (port: number, name: string, start: number) =>
    `port ${port} (${name}) is in use: Berth takes ${start} to ${start + 2}; choose others with PORT=<first port>`;
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
