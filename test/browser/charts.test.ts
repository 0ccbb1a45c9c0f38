/** The charts of the console in a real browser, with figures of three months. */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts, type LocalRegistry, startLocalRegistry } from '../../src/local/simulators.ts';
import { imageOf, loggedIn, pushImage } from '../support/local/push.ts';
import { temporaryFolder } from '../support/local/server.ts';
import { SqlApi } from '../support/local/sql-api.ts';
import { noteUsage, WITH_SQL } from './usage-figures.ts';
import { browserForFile, NARROW, pictureOf, problemsOf, WIDE } from './browser.ts';

const TOKEN = 'the-token-of-analytics-engine';

let registry: LocalRegistry;
let sql: SqlApi;
let folder: string;
const address = (path: string): string => `${registry.console.url}${path}`;
const { signedIn } = browserForFile(address);

beforeAll(async () => {
  folder = await temporaryFolder();
  const [port = 0] = await freePorts();
  sql = await SqlApi.start(TOKEN);
  sql.pulls = 12;
  const vars = { ANALYTICS_URL: sql.url, ANALYTICS_TOKEN: TOKEN };
  registry = await startLocalRegistry({ port, stateDir: folder, entryPoint: WITH_SQL, vars });
  await noteUsage(port);
  const alice = loggedIn(`http://localhost:${port + 1}`, 'alice');
  await pushImage(alice, 'alice/app', 'latest', imageOf(200_000, 50_000));
  const state = '/api/organizations/alice/repositories/app/images/latest?wait=60';
  await fetch(`http://localhost:${port + 1}${state}`, { headers: { Authorization: alice.authorization } });
});

afterAll(async () => {
  await registry?.stop();
  await sql?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const CHARTS: readonly (readonly [path: string, charts: readonly string[], inTables: readonly string[]])[] = [
  [
    '/',
    ['Map: central and its nodes', 'Pushes by the hour', 'Pulls by the hour', 'Lag by the hour'],
    ['New at central', 'Pulls', '95 % announced in'],
  ],
  [
    '/replication',
    ['Lag by the hour', 'Announcements and copies', 'Bytes copied', 'Deletions and failures'],
    ['95 % settled in', 'longer', 'Up, to central', 'Failed attempts'],
  ],
  [
    '/replication/node1',
    ['Lag by the hour', 'Announcements and copies', 'Bytes copied', 'Deletions and failures'],
    ['95 % settled in', 'longer', 'Up, to central', 'Failed attempts'],
  ],
  ['/organizations/alice', ['Use by the day', 'Bytes by repository'], ['alice/runtime', '86 others', '12 GB']],
];

describe.each(CHARTS)('%s', (path, charts, inTables) => {
  test.each([
    ['wide and light', WIDE, 'light'],
    ['narrow and dark', NARROW, 'dark'],
  ] as const)('has charts that all can use, %s', async (name, viewport, colorScheme) => {
    const page = await signedIn('admin', { viewport, colorScheme });
    const bodies: Promise<Buffer>[] = [];
    page.on('response', (response) => void bodies.push(response.body()));
    await page.goto(address(path), { waitUntil: 'networkidle' });
    expect(Buffer.concat(await Promise.all(bodies)).byteLength).toBeLessThanOrEqual(100_000);
    for (const chart of charts) await page.getByRole('img', { name: chart }).waitFor();
    for (const summary of await page.getByText('Show the figures as a table').all()) await summary.click();
    const tables = (await page.locator('figure table').allTextContents()).join(' ');
    for (const text of inTables) expect(tables).toContain(text);
    expect(await problemsOf(page)).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(viewport.width);
    await page.screenshot({ path: pictureOf(`charts${path}-${name}`), fullPage: true });
  });
});
