/** Sessions of readers, and the check that a change comes from one of the console's own forms. */
import { getCookie, setCookie, deleteCookie } from 'hono/cookie';
import { createMiddleware } from 'hono/factory';
import { html } from 'hono/html';
import { HTTPException } from 'hono/http-exception';
import { isLoopback } from '../config.ts';
import type { Caller } from './answers.ts';
import type { ConsoleContext, ConsoleEnv } from './context.ts';
import { FormFields } from './form.ts';
import { RegistryClient, unless } from './registry-client.ts';
import { type Session, SESSION_MILLISECONDS, Sessions } from './session.ts';

/** The field of a form that holds its token. */
export const FORM_TOKEN = 'form-token';

/** The largest cookie that browsers keep, with its name (RFC 6265bis §5.6). */
const MAX_COOKIE_BYTES = 4096;

/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Returns a client that acts as the session's user, at central. */
export function registryAs(c: ConsoleContext, session: Session): RegistryClient {
  return new RegistryClient(c.env.send, centralOrigin(c), session, c.req.header('CF-Connecting-IP'));
}

/** Checks a login. @returns the caller; undefined if the user or secret is wrong @throws RegistryError */
export async function callerOf(registry: RegistryClient): Promise<Caller | undefined> {
  return unless(401, registry.get<Caller>('/api/caller'));
}

/**
 * Begins a session, in a cookie that scripts and other sites don't get.
 * @returns whether the secret is short enough for that
 */
export async function beginSession(c: ConsoleContext, user: string, secret: string): Promise<boolean> {
  const value = await new Sessions(c.env.runtime.keys).seal(user, secret, Date.now());
  if (cookieName(c).length + 1 + value.length > MAX_COOKIE_BYTES) return false;
  setCookie(c, cookieName(c), value, { ...attributes(c), maxAge: SESSION_MILLISECONDS / 1000 });
  return true;
}

export function endSession(c: ConsoleContext): void {
  deleteCookie(c, cookieName(c), attributes(c));
}

/** Lets readers with a session pass, and sends others to the sign-in page, which then leads back. */
export const signedInOnly = createMiddleware<ConsoleEnv>(async (c, next) => {
  const sessions = new Sessions(c.env.runtime.keys);
  const session = await sessionOf(c, sessions);
  const registry = session && registryAs(c, session);
  const caller = registry && (await callerOf(registry));
  if (session === undefined || registry === undefined || caller === undefined) {
    if (getCookie(c, cookieName(c)) !== undefined) endSession(c);
    else if (isLinkFromElsewhere(c)) return c.html(continuePage(), 200, { 'Cache-Control': 'no-store' });
    // The script would put the sign-in page in place of a part of this page.
    if (c.req.header('HX-Request') !== undefined)
      throw new HTTPException(401, { message: 'the session has ended: sign in again' });
    const { pathname, search } = c.env.url;
    const back = c.req.method === 'GET' ? `?to=${encodeURIComponent(pathname + search)}` : '';
    return c.redirect(`/sign-in${back}`, 303);
  }
  if (!SAFE_METHODS.has(c.req.method)) {
    const token = (await FormFields.of(c)).text(FORM_TOKEN);
    if (!(await sessions.madeForm(session, token)))
      throw new HTTPException(403, { message: 'the form belongs to another session: reload the page' });
  }
  c.set('reader', { session, caller, registry, formToken: await sessions.formToken(session) });
  c.header('Cache-Control', 'no-store');
  await next();
  return undefined;
});

/** Refuses changes that a page of another origin asks for (Fetch Metadata §2.3; RFC 6454). */
export const ownFormsOnly = createMiddleware<ConsoleEnv>(async (c, next) => {
  if (!SAFE_METHODS.has(c.req.method)) {
    const site = c.req.header('Sec-Fetch-Site');
    const origin = c.req.header('Origin');
    const isOwn =
      (site === undefined || site === 'same-origin') && origin !== undefined && hostOf(origin) === c.env.url.host;
    if (!isOwn) throw new HTTPException(403, { message: 'only a form of this console may change anything' });
  }
  await next();
});

/** A browser opens a link of another site without the `SameSite=Strict` cookie (RFC 6265bis §5.2). */
function isLinkFromElsewhere(c: ConsoleContext): boolean {
  return (
    c.req.method === 'GET' &&
    c.req.header('Sec-Fetch-Site') === 'cross-site' &&
    c.req.header('Sec-Fetch-Mode') === 'navigate' &&
    c.req.header('Sec-Fetch-Dest') === 'document'
  );
}

/** Returns a page that opens itself again. The console itself then asks for it, so the browser sends the cookie. */
function continuePage() {
  return html`<!doctype html>
    <html lang="en">
      <meta charset="utf-8" />
      <meta http-equiv="refresh" content="0" />
      <title>Berth</title>
      <p>Opening the console…</p>
    </html>`;
}

async function sessionOf(c: ConsoleContext, sessions: Sessions): Promise<Session | undefined> {
  const cookie = getCookie(c, cookieName(c));
  return cookie === undefined ? undefined : sessions.open(cookie, Date.now());
}

/** A browser keeps a `__Host-` cookie from other hosts, and sends it over HTTPS alone (RFC 6265bis §4.1.3). */
function cookieName(c: ConsoleContext): string {
  return isPlainLoopback(c) ? 'berth-session' : '__Host-berth-session';
}

function attributes(c: ConsoleContext) {
  return { path: '/', httpOnly: true, secure: !isPlainLoopback(c), sameSite: 'Strict' } as const;
}

function isPlainLoopback(c: ConsoleContext): boolean {
  return c.env.url.protocol === 'http:' && isLoopback(c.env.url.hostname);
}

function hostOf(origin: string): string | undefined {
  return URL.parse(origin)?.host;
}

/** Returns central's origin. A host that is configured by its port alone is on this machine. */
function centralOrigin(c: ConsoleContext): string {
  const { config } = c.env.runtime;
  const hosts = config.hosts.filter(({ namespace }) => namespace === config.central).map(({ host }) => host);
  const named = hosts.find((host) => !host.startsWith(':'));
  return named === undefined ? `http://localhost${hosts[0] ?? ''}` : `https://${named}`;
}
