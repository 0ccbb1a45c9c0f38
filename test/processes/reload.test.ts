/** `npm run dev`, on a copy of the sources that the tests change. */
import { cp, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { comparePull, imageOf, loggedIn, pushSteps, request } from '../support/local/push.ts';
import {
  processesOf,
  removeFolder,
  type Server,
  startServer,
  temporaryFolder,
  until,
} from '../support/local/server.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const IMAGE = imageOf(100_000);

let folder: string;
let server: Server;

beforeAll(async () => {
  folder = await temporaryFolder();
  for (const name of ['src', 'wrangler.toml', 'package.json', 'tsconfig.json']) {
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  server = await startServer(join(folder, 'state'), undefined, [join(folder, 'src/local/start.ts'), '--reload']);
  for (const step of pushSteps('alice/app', 'latest', IMAGE)) await step.run(loggedIn(server.url, 'alice'));
});

afterAll(async () => {
  await server.kill();
  await removeFolder(folder);
});

const SOURCE = 'src/http/health.ts';

/** Changes the copied source so that /healthz reports this expression as the configuration instead of `'ok'`. */
async function sayOfConfiguration(expression: string): Promise<void> {
  const original = await readFile(join(ROOT, SOURCE), 'utf8');
  const changed = original.replace("configuration: 'ok'", `configuration: ${expression}`);
  if (changed === original && expression !== "'ok'")
    throw new Error(`${SOURCE} does not say "configuration: 'ok'" any more`);
  await writeFile(join(folder, SOURCE), changed);
}

async function configuration(): Promise<unknown> {
  return ((await (await fetch(new URL('/healthz', server.url))).json()) as { configuration: unknown }).configuration;
}

/** Waits until the server has printed `text` after `change`. */
async function printed(text: string, change: () => Promise<void>): Promise<void> {
  const before = server.output().length;
  await change();
  await until(() => server.output().slice(before).includes(text));
}

const reloads = (change: () => Promise<void>) => printed(`s: ${SOURCE}\n`, change);

test('after a changed source is reloaded, central and a node answer with the earlier state', async () => {
  await reloads(() => sayOfConfiguration("'changed'"));
  expect(await configuration()).toBe('changed');
  for (const { url } of [server, ...server.nodes])
    await comparePull(loggedIn(url, 'alice'), 'alice/app', 'latest', IMAGE);
});

test('a source that does not build is reported, and the previous registry answers until it is repaired', async () => {
  await printed('the previous registry keeps running', () => sayOfConfiguration("'a' 'b'"));
  expect(server.output()).toMatch(new RegExp(`${SOURCE}:\\d+:\\d+: ERROR: Expected`));
  expect(await configuration()).toBe('changed');
  await reloads(() => sayOfConfiguration("'repaired'"));
  expect(await configuration()).toBe('repaired');
});

test('a source that builds but does not start is reported, and the next change starts the registry again', async () => {
  await printed('starts again after the next change', async () => {
    const source = await readFile(join(ROOT, SOURCE), 'utf8');
    await writeFile(join(folder, SOURCE), `${source}\nthrow new Error('thrown at the start');\n`);
  });
  expect(server.output()).toContain('thrown at the start');
  await expect(fetch(server.url)).rejects.toThrow();
  await reloads(() => sayOfConfiguration("'ok'"));
  expect(await configuration()).toBe('ok');
});

test('a new migration is applied', async () => {
  const name = 'src/stores/migrations/9999_migrated.sql';
  await printed(`s: ${name}\n`, () =>
    writeFile(join(folder, name), "INSERT INTO organizations (name, created_at) VALUES ('migrated', 0);"),
  );
  const response = await request(loggedIn(server.url, 'admin'), 'GET', '/api/organizations');
  expect(await response.text()).toContain('"migrated"');
});

test('a changed source outside the Worker is reported, because it needs a restart', async () => {
  await printed('Restart npm run dev to use src/local/start.ts\n', () =>
    utimes(join(folder, 'src/local/start.ts'), new Date(), new Date()),
  );
});

test('Ctrl-C stops everything, even after a reload', async () => {
  expect(await server.interrupt()).toBe(0);
  expect(await processesOf(server.pid)).toEqual([]);
});
