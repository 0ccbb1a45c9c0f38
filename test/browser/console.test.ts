/**
 * The console in a real browser, against the registry that `npm start` starts. Each page is checked for faults of
 * accessibility and layout, in light and dark, wide and narrow. Pictures of the pages are in `results/console/`.
 */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { imageOf, loggedIn, pushImage } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { browserForFile, NARROW, pictureOf, problemsOf, WIDE } from './browser.ts';

const server = serverForFile();
const address = (path: string): string => `http://console.localhost:${server.current.port + 3}${path}`;
const { open, signIn, signedIn } = browserForFile(address);

const APP = 'alice/app';

beforeAll(async () => {
  const alice = loggedIn(server.current.url, 'alice');
  await pushImage(alice, APP, 'latest', imageOf(200_000, 50_000));
  await pushImage(alice, APP, 'latest', imageOf(300_000, 50_000));
});

describe('signing in', () => {
  test('with a wrong secret says so, and keeps the user', async () => {
    const page = await open();
    await signIn(page, 'alice', 'wrong');
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toContain('Wrong user or secret');
    expect(await page.getByLabel('User').inputValue()).toBe('alice');
  });

  test('leads to the requested page, and lasts until signing out', async () => {
    const page = await open();
    await page.goto(address(`/images/${APP}`));
    await page.getByLabel('User').fill('alice');
    await page.getByLabel('Secret').fill('alice-dev');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: APP }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Secret').waitFor();
    await page.goto(address('/images'));
    await page.getByLabel('Secret').waitFor();
  });

  test('holds for a link from another site', async () => {
    const page = await signedIn('alice');
    await page.goto(`http://localhost:${server.current.port}/`);
    // The registry's own page says where the console is.
    await page.evaluate(`location.href = ${JSON.stringify(address(`/images/${APP}`))}`);
    await page.getByRole('heading', { name: APP }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
  });

  test('reveals no cookie to scripts or to a registry', async () => {
    const page = await signedIn('alice');
    expect(await page.evaluate('document.cookie')).toBe('');
    const sent = await page.goto(`http://localhost:${server.current.port}/`);
    expect(await sent?.request().headerValue('Cookie')).toBeNull();
  });
});

const PAGES: readonly (readonly [user: string, path: string])[] = [
  ['admin', '/'],
  ['admin', '/organizations'],
  ['admin', '/organizations/alice'],
  ['admin', '/replication'],
  ['admin', '/replication/node1'],
  ['admin', '/storage'],
  ['admin', '/audit'],
  ['admin', '/reference'],
  ['alice', '/images'],
  ['alice', '/images?sort=pushed'],
  ['alice', `/images/${APP}`],
  ['alice', `/images/${APP}/-/untagged`],
  ['alice', `/images/${APP}:latest`],
  ['alice', `/images/${APP}:latest/history`],
  ['admin', `/images/${APP}`],
  ['admin', '/organizations/alice/repositories'],
  ['alice', `/images/${APP}/-/delete`],
  ['alice', `/images/${APP}:latest/delete`],
  ['alice', '/organizations/alice'],
];

describe.each(PAGES)('%s at %s', (user, path) => {
  test.each([
    ['wide and light', WIDE, 'light'],
    ['narrow and dark', NARROW, 'dark'],
  ] as const)('can be used by all, %s', async (name, viewport, colorScheme) => {
    const page = await signedIn(user, { viewport, colorScheme });
    const refused: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error') refused.push(message.text());
    });
    await page.goto(address(path));
    expect(await problemsOf(page)).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(viewport.width);
    expect(refused).toEqual([]);
    await page.screenshot({ path: pictureOf(`${user}${path}-${name}`), fullPage: true });
  });

  test('can be read without scripts', async () => {
    const page = await signedIn(user, { javaScriptEnabled: false });
    const answer = await page.goto(address(path));
    expect(answer?.status()).toBe(200);
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
  });
});

test.each(PAGES.filter(([, path]) => path !== '/reference'))(
  'the first view of %s at %s is at most 100 KB in all',
  async (user, path) => {
    const page = await signedIn(user);
    const bodies: Promise<Buffer>[] = [];
    page.on('response', (response) => void bodies.push(response.body()));
    await page.goto(address(path), { waitUntil: 'networkidle' });
    const bytes = Buffer.concat(await Promise.all(bodies)).byteLength;
    expect(bytes).toBeLessThanOrEqual(100_000);
    expect(bytes).toBeGreaterThan(10_000);
  },
);

test('a push appears on an open page without reloading it', async () => {
  const page = await signedIn('alice');
  await page.goto(address(`/images/${APP}`));
  await page.evaluate('window.stillHere = true');
  await pushImage(loggedIn(server.current.url, 'alice'), APP, 'fresh', imageOf(1000));
  await page.getByRole('link', { name: 'fresh' }).waitFor({ timeout: 30_000 });
  expect(await page.evaluate('window.stillHere')).toBe(true);
});

test('an open page that is refreshed keeps the focus of the keyboard', async () => {
  const page = await signedIn('admin');
  await page.getByRole('button', { name: 'Wake node1' }).focus();
  await page.waitForResponse((response) => response.url() === address('/'));
  await page.evaluate("new Promise((done) => document.addEventListener('htmx:after:swap', done, { once: true }))");
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Wake node1');
});

test('a push appears on the open overview of an administrator', async () => {
  const page = await signedIn('admin');
  await pushImage(loggedIn(server.current.url, 'alice'), APP, 'newest', imageOf(2000));
  await page.getByRole('link', { name: `${APP}:newest` }).waitFor({ timeout: 30_000 });
});

test.each([
  ['the registry fails', (page: Page) => page.route('**/images/**', (route) => route.fulfill({ status: 503 }))],
  ['the session has ended', (page: Page) => page.context().clearCookies()],
])('a table that refreshes stays when %s', async (_, fail) => {
  const page = await signedIn('alice');
  await page.goto(address(`/images/${APP}`));
  await fail(page);
  const answer = await page.waitForResponse((response) => response.url() === address(`/images/${APP}`));
  expect([401, 503]).toContain(answer.status());
  // The next request is sent only by a table that is still there.
  await page.waitForRequest((request) => request.url() === address(`/images/${APP}`));
  expect(await page.getByRole('link', { name: 'latest' }).count()).toBe(1);
});

test('a hidden page sends no requests', async () => {
  const page = await signedIn('alice');
  await page.goto(address(`/images/${APP}`));
  await page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.isHidden })");
  await page.evaluate('window.isHidden = true');
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  const prevented =
    "new Promise((done) => document.addEventListener('htmx:before:request', () => setTimeout(done), {once: true}))";
  await page.evaluate(prevented);
  expect(asked).toEqual([]);
  await page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))");
  await page.waitForResponse(address(`/images/${APP}`));
});

test('an operation that reads can be tried from the reference', async () => {
  const page = await signedIn('alice', { viewport: NARROW });
  await page.goto(address('/reference'));
  await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })");
  expect(await problemsOf(page)).toEqual([]);
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(NARROW.width);
  const operation = page.locator('details').filter({ hasText: 'GET /api/caller' });
  await operation.getByRole('button', { name: 'Try it' }).click();
  await page.getByRole('heading', { name: 'GET /api/caller' }).waitFor();
  expect(await page.locator('pre').textContent()).toContain('"organization": "alice"');
});

test('an operation that writes can be tried from the reference, once it is confirmed', async () => {
  const page = await signedIn('alice', { viewport: NARROW, colorScheme: 'dark' });
  await page.goto(address('/reference'));
  const operation = page.locator('details').filter({ hasText: 'POST /api/organizations/{organization}/repositories' });
  await operation.first().locator('summary').click();
  await operation.first().getByRole('link', { name: 'Try it…' }).click();
  await page.getByLabel('organization').fill('alice');
  await page.getByLabel('Body (JSON)').fill('{"name":"by-hand"}');
  expect(await problemsOf(page)).toEqual([]);
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(NARROW.width);
  await page.getByRole('button', { name: 'Continue' }).click();
  expect(await problemsOf(page)).toEqual([]);
  await page.getByRole('button', { name: 'Send the request' }).click();
  await page.getByRole('link', { name: 'Back to the reference' }).waitFor();
  expect(await page.locator('pre').textContent()).toContain('"name": "alice/by-hand"');
});

test('an image gets another tag, which shows at each store', async () => {
  const page = await signedIn('alice');
  await page.goto(address(`/images/${APP}:latest`));
  await page.getByLabel('Another tag for this image').fill('stable');
  await page.getByRole('button', { name: 'Set the tag' }).click();
  await page.getByRole('heading', { name: `${APP}:stable` }).waitFor();
  await page.goto(address(`/images/${APP}`));
  const row = page.getByRole('row').filter({ hasText: 'stable' });
  expect((await row.getByRole('cell').allTextContents()).slice(-3)).toEqual(['✓ settled', '– absent', '– absent']);
});

test('a search shows the names that start with its text, as it is typed', async () => {
  await pushImage(loggedIn(server.current.url, 'alice'), 'alice/other', 'latest', imageOf(10));
  const page = await signedIn('alice');
  await page.goto(address('/images'));
  await page.getByRole('link', { name: 'alice/other', exact: true }).waitFor();
  await page.getByLabel('Name starts with').pressSequentially('alice/ap');
  await page.getByRole('link', { name: 'alice/other', exact: true }).waitFor({ state: 'detached' });
  await page.getByRole('link', { name: APP, exact: true }).waitFor();
});

test('the audit log shows the entries that match its filters', async () => {
  const page = await signedIn('admin');
  await page.goto(address('/audit'));
  await page.getByLabel('Action').selectOption('delete tag');
  await page.getByLabel('From (UTC)').fill('2020-01-01');
  await page.getByLabel('To (UTC)').fill('2020-01-31');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByText('No entry matches.').waitFor();
  expect(await page.getByLabel('Action').inputValue()).toBe('delete tag');
  expect(await page.getByLabel('From (UTC)').inputValue()).toBe('2020-01-01');
});

test('times are in the zone of the reader', async () => {
  const page = await signedIn('alice', { timezoneId: 'Asia/Tokyo', locale: 'en-GB' });
  await page.goto(address(`/images/${APP}`));
  const [shown, utc] = await page.evaluate<[string, string]>(
    "(() => { const t = document.querySelector('time'); return [t.textContent, t.dateTime]; })()",
  );
  const expected = new Intl.DateTimeFormat('en-GB', {
    dateStyle: 'medium',
    timeStyle: 'medium',
    timeZone: 'Asia/Tokyo',
  });
  expect(shown).toBe(expected.format(new Date(utc)));
});

test.each([
  ['wide and light', WIDE, 'light', true],
  ['narrow and dark, without scripts', NARROW, 'dark', false],
] as const)('two writes of a tag are compared, %s', async (name, viewport, colorScheme, javaScriptEnabled) => {
  const page = await signedIn('alice', { viewport, colorScheme, javaScriptEnabled });
  await page.goto(address(`/images/${APP}:latest/history`));
  await page
    .getByRole('radio', { name: /^Compare from/ })
    .last()
    .check();
  await page.getByRole('button', { name: 'Compare the two' }).click();
  await page.getByRole('heading', { name: `Two images of ${APP}` }).waitFor();
  const layers = page.getByRole('table', { name: 'Layers of the two images' });
  expect(await layers.getByText('removed').count()).toBeGreaterThan(0);
  if (javaScriptEnabled) expect(await problemsOf(page)).toEqual([]);
  await page.screenshot({ path: pictureOf(`difference-${name}`), fullPage: true });
  await page.getByRole('link', { name: 'Back to the history' }).click();
  await page.getByRole('heading', { name: 'History of' }).waitFor();
});

test('an image is deleted, and put back from its history', async () => {
  const page = await signedIn('alice');
  await pushImage(loggedIn(server.current.url, 'alice'), APP, 'brief', imageOf(20));
  await page.goto(address(`/images/${APP}:brief`));
  await page.getByRole('link', { name: `Delete ${APP}:brief` }).click();
  await page.getByRole('button', { name: `Delete ${APP}:brief` }).click();
  await page.getByRole('heading', { name: APP }).waitFor();
  expect(await page.getByRole('link', { name: 'brief' }).count()).toBe(0);
  await page.goto(address(`/images/${APP}:brief/history`));
  await page.getByRole('button', { name: 'Put back' }).click();
  await page.goto(address(`/images/${APP}`));
  await page.getByRole('link', { name: 'brief' }).waitFor();
});

test('a credential is created, its secret works, and it is removed', async () => {
  const page = await signedIn('alice');
  await page.goto(address('/organizations/alice'));
  await page.getByLabel('Name').fill('browser');
  await page.getByLabel('push').check();
  await page.getByRole('button', { name: 'Create the credential' }).click();
  const secret = (await page.locator('pre').first().textContent()) ?? '';
  const other = await open();
  await signIn(other, 'alice', secret);
  await other.getByRole('button', { name: 'Sign out' }).waitFor();
  expect(await other.getByRole('link', { name: 'Organization' }).count()).toBe(0);
  await page.goto(address('/organizations/alice'));
  await page.getByRole('button', { name: 'Remove browser' }).click();
  await page.getByRole('button', { name: 'Remove browser' }).waitFor({ state: 'detached' });
});
