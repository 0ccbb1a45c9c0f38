/** A browser for all tests of a file. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll } from 'vitest';

const PICTURES = fileURLToPath(new URL('../../results/console', import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const NARROW = { width: 320, height: 640 };
export const WIDE = { width: 1920, height: 1080 };

type ContextOptions = Parameters<Browser['newContext']>[0];

interface BrowserForFile {
  /** Opens an empty page, which is closed after the test. */
  readonly open: (options?: ContextOptions) => Promise<Page>;
  readonly signIn: (page: Page, user: string, secret?: string) => Promise<void>;
  /** Opens a page, and signs in. */
  readonly signedIn: (user: string, options?: ContextOptions) => Promise<Page>;
}

/** @param address returns the URL of a page of the console */
export function browserForFile(address: (path: string) => string): BrowserForFile {
  let browser: Browser;
  const contexts: BrowserContext[] = [];
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
      args: ['--no-sandbox'],
    });
  });
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close();
  });
  afterAll(() => browser?.close());

  const open = async (options: ContextOptions = {}): Promise<Page> => {
    const context = await browser.newContext({ viewport: WIDE, ...options });
    contexts.push(context);
    return context.newPage();
  };
  const signIn = async (page: Page, user: string, secret = `${user}-dev`): Promise<void> => {
    await page.goto(address('/sign-in'));
    await page.getByLabel('User').fill(user);
    await page.getByLabel('Secret').fill(secret);
    await page.getByRole('button', { name: 'Sign in' }).click();
  };
  return {
    open,
    signIn,
    signedIn: async (user, options) => {
      const page = await open(options);
      await signIn(page, user);
      await page.getByRole('button', { name: 'Sign out' }).waitFor();
      return page;
    },
  };
}

/** Returns what axe finds wrong with the page. */
export function problemsOf(page: Page): Promise<string[]> {
  // The page's own policy refuses scripts that are added to it, so axe runs as the browser's own.
  return page.evaluate(`${AXE}; axe.run().then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' | ')))`);
}

/** Returns the file for a picture of a page. */
export function pictureOf(name: string): string {
  return `${PICTURES}/${name.replaceAll(/[/:?]/g, '-').replaceAll(' ', '-')}.png`;
}
