/** Readers of the console in a browser: one without a session, a member who may only pull, an organization's admin. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { secrets } from '../support/local/logged-secrets.ts';
import { imageOf, loggedIn, pushImage, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { browserForFile, NARROW, problemsOf } from './browser.ts';

const server = serverForFile();
const address = (path: string): string => `http://console.localhost:${server.current.port + 3}${path}`;
const { open, signIn, signedIn } = browserForFile(address);

const APP = 'alice/app';
let memberSecret = '';

const api = async (user: string, method: string, path: string, body: object): Promise<Response> => {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await request(loggedIn(server.current.url, user), method, `/api/${path}`, {
    headers,
    body: JSON.stringify(body),
  });
  expect(answer.ok).toBe(true);
  return answer;
};

beforeAll(async () => {
  await pushImage(loggedIn(server.current.url, 'alice'), APP, 'latest', imageOf(20_000));
  const member = { name: 'member', rights: ['pull'] };
  const created = await api('alice', 'POST', 'organizations/alice/credentials', member);
  memberSecret = ((await created.json()) as { secret: string }).secret;
  secrets.add('the secret of a member', memberSecret);
});

const buttons = async (page: Page): Promise<readonly string[]> => page.getByRole('button').allTextContents();

const PATHS = [
  '/',
  '/images',
  `/images/${APP}`,
  `/images/${APP}/-/untagged`,
  `/images/${APP}/-/delete`,
  `/images/${APP}:latest`,
  `/images/${APP}:latest/contents`,
  `/images/${APP}:latest/history`,
  `/images/${APP}:latest/delete`,
  '/organizations',
  '/organizations/alice',
  '/replication',
  '/replication/node1',
  '/storage',
  '/audit',
  '/audit.csv',
  '/reference',
];

test('every page leads a reader without a session to the sign-in', async () => {
  const page = await open();
  for (const path of PATHS) {
    await page.goto(address(path));
    expect(new URL(page.url()).pathname).toBe('/sign-in');
    expect(new URL(page.url()).searchParams.get('to')).toBe(path);
  }
});

describe('a member who may only pull', () => {
  const member = async (): Promise<Page> => {
    const page = await open({ viewport: NARROW });
    await signIn(page, 'alice', memberSecret);
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
    return page;
  };

  test.each(['/images', `/images/${APP}`, `/images/${APP}:latest`, `/images/${APP}:latest/history`])(
    'reads %s, and is offered no change',
    async (path) => {
      const page = await member();
      await page.goto(address(path));
      const reading = new Set(['Sign out', 'Search', 'Compare the two']);
      expect((await buttons(page)).filter((name) => !reading.has(name))).toEqual([]);
      expect(await page.getByRole('link', { name: /^Delete/ }).count()).toBe(0);
      expect(await page.getByRole('navigation').getByRole('link').allTextContents()).toEqual(['Images', 'API']);
      expect(await problemsOf(page)).toEqual([]);
    },
  );

  test.each(['/organizations/alice', '/replication', '/storage', '/audit', `/organizations/alice/repositories`])(
    'is refused %s',
    async (path) => {
      const page = await member();
      expect((await page.goto(address(path)))?.status()).toBe(403);
      await page.getByRole('heading', { name: 'Not allowed' }).waitFor();
      expect(await problemsOf(page)).toEqual([]);
    },
  );
});

test("an organization's admin makes a repository public from the list, and private again", async () => {
  const page = await signedIn('alice');
  for (const [from, to] of [
    ['private', 'public'],
    ['public', 'private'],
  ] as const) {
    await page.goto(address('/images'));
    const row = page.getByRole('row').filter({ hasText: APP });
    expect((await row.getByRole('cell').allTextContents())[1]).toBe(from);
    await row.getByRole('button', { name: `Make ${to}` }).click();
    await page.getByRole('heading', { name: APP }).waitFor();
  }
});

test('an administrator pauses and resumes a queue from the overview, and a push waits at its node', async () => {
  const page = await signedIn('admin');
  await page.getByRole('button', { name: 'Pause node2' }).click();
  await page.getByRole('heading', { name: 'Queue of node2' }).waitFor();
  await pushImage(loggedIn(`http://localhost:${server.current.port + 2}`, 'alice'), APP, 'waiting', imageOf(10));
  const reader = await signedIn('alice');
  await reader.goto(address(`/images/${APP}`));
  const cells = async (tag: string): Promise<readonly string[]> =>
    (await reader.getByRole('row').filter({ hasText: tag }).getByRole('cell').allTextContents()).slice(-3);
  expect(await cells('waiting')).toEqual(['– absent', '– absent', '… pending']);
  expect(await cells('latest')).toEqual(['✓ settled', '– absent', '– absent']);
  await page.goto(address('/'));
  await page.getByRole('button', { name: 'Resume node2' }).click();
  await page.getByRole('heading', { name: 'Queue of node2' }).waitFor();
  // The open page of the repository shows it without reloading.
  await reader
    .getByRole('row')
    .filter({ hasText: 'waiting' })
    .getByText('settled')
    .first()
    .waitFor({ timeout: 60_000 });
});
