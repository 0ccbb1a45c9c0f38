/**
 * `npm run screenshots`: takes the pictures of the console in `docs/images/`, of a registry that it starts and fills.
 * Needs Chromium (`CHROMIUM`, by default Debian's).
 */
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { freePorts, startLocalRegistry } from '../../src/local/simulators.ts';
import { imageWith, loggedIn, type LocalImage, pushImage, request } from '../support/local/push.ts';
import { removeFolder, temporaryFolder } from '../support/local/server.ts';
import { noteUsage, WITH_SQL } from './usage-figures.ts';

const IMAGES = fileURLToPath(new URL('../../docs/images', import.meta.url));

const PICTURES = [
  { name: 'overview', user: 'admin', path: '/', height: 720 },
  { name: 'repository', user: 'alice', path: '/images/alice/app', height: 560 },
  { name: 'organization', user: 'alice', path: '/organizations/alice', height: 960 },
] as const;

const folder = await temporaryFolder();
const [port = 0] = await freePorts();
const registry = await startLocalRegistry({ port, stateDir: folder, entryPoint: WITH_SQL });
const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
try {
  await fill();
  for (const { name, user, path, height } of PICTURES) {
    const page = await browser.newPage({ viewport: { width: 1120, height } });
    await page.goto(`${registry.console.url}/sign-in?to=${encodeURIComponent(path)}`);
    await page.getByLabel('User').fill(user);
    await page.getByLabel('Secret').fill(`${user}-dev`);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
    await page.screenshot({ path: `${IMAGES}/${name}.png` });
    await page.close();
  }
} finally {
  await browser.close();
  await registry.stop();
  await removeFolder(folder);
}

/** Returns an image with layers of the given sizes, whose config names a platform. */
function appOf(...layerSizes: readonly number[]): LocalImage {
  const config = { os: 'linux', architecture: 'amd64', created: new Date().toISOString() };
  return imageWith(Buffer.from(JSON.stringify(config)), ...layerSizes);
}

/** Pushes to central and to both nodes. The push to node2 waits there, because its queue is paused. */
async function fill(): Promise<void> {
  await noteUsage(port);
  const [central, node1, node2] = [0, 1, 2].map((i) => loggedIn(`http://localhost:${port + i}`, 'alice'));
  if (central === undefined || node1 === undefined || node2 === undefined) return;
  await pushImage(central, 'alice/runtime', 'v3', appOf(400_000));
  await pushImage(central, 'alice/app', 'v1.4.0', appOf(300_000, 50_000));
  await pushImage(node1, 'alice/app', 'v1.5.0', appOf(310_000, 50_000));
  await pushImage(node1, 'alice/app', 'latest', appOf(310_000, 60_000));
  for (const [repository, tag] of [
    ['app', 'v1.5.0'],
    ['app', 'latest'],
  ])
    await request(node1, 'GET', `/api/organizations/alice/repositories/${repository}/images/${tag}?wait=60`);
  const paused = await request(
    loggedIn(`http://localhost:${port}`, 'admin'),
    'PATCH',
    '/api/replication/queues/node2',
    { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ paused: true }) },
  );
  if (!paused.ok) throw new Error(`pausing the queue of node2 was answered with ${paused.status}`);
  await pushImage(node2, 'alice/app', 'v1.6.0-rc1', appOf(320_000, 60_000));
}
