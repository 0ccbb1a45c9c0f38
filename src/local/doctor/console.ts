/** Checks of the console. An administrator's credential finds its hosts, and signs in. */
import { isLoopback } from '../../config.ts';
import type { Login } from './arguments.ts';
import { type Answer, type Ask, header, unexpected } from './client.ts';
import { requireHeader } from './edge.ts';
import { addressesOf } from './hosts.ts';
import { Failed, type Found, failure, notChecked, ok } from './line.ts';
import type { Run } from './run.ts';

/** Headers of every page, as docs/console.md describes them. */
const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'same-origin',
};

/** The name of the console in local runs, where it shares no cookies with a registry. */
const LOCAL_HOST = 'console.localhost';
const SIGN_IN = '/sign-in';
const HOSTS = 'Give the console a host that no registry has: console in REGISTRY, docs/console.md.';
const COOKIE = 'Look for a transform rule, a snippet or another Worker that changes Set-Cookie: docs/zone.md.';

/** Checks that the console answers at its hosts, protects its readers, and is served by no registry. */
export async function* checkConsole(run: Run): AsyncGenerator<Found, void> {
  const { url, administrator } = run.options;
  const served = run.deployment?.console ?? [];
  if (administrator === undefined) return;
  if (served.length === 0) return yield notChecked('the deployment has no console');
  for (const address of addressesOf(served, url)) yield* checkAt(run, address, administrator);
  for (const host of run.hosts.filter((each) => !run.unreachable.has(each))) {
    const { status } = await run.client.ask(new URL(SIGN_IN, host.url));
    if (status !== 404)
      yield failure(`${host.name} is a registry, and answers ${SIGN_IN} of the console with ${status}`, HOSTS);
  }
}

async function* checkAt({ client }: Run, address: URL, login: Login): AsyncGenerator<Found, void> {
  // Not every machine resolves the name that the console has in a local run.
  const name = isLoopback(address.hostname) ? `${LOCAL_HOST}:${address.port}` : address.host;
  const ask = (path: string, { headers = {}, ...asked }: Ask = {}): Promise<Answer> =>
    client.ask(new URL(path, address), { ...asked, headers: { ...headers, Host: name } });
  const page = await ask(SIGN_IN);
  requireSignInPage(page);
  for (const [each, expected] of Object.entries(HEADERS)) requireHeader(page, each, expected);
  yield ok(`${address.host} shows the page to sign in, with the headers that protect readers`);
  const registry = await ask('/v2/');
  if (header(registry, 'WWW-Authenticate') !== undefined)
    yield failure(`${address.host} is the console, and answers /v2/ as a registry`, HOSTS);
  const origin = `${address.protocol}//${name}`;
  const form = new URLSearchParams({ user: login.user, secret: login.secret, to: '/' });
  const answer = await ask(SIGN_IN, {
    method: 'POST',
    headers: { Origin: origin, 'Content-Type': 'application/x-www-form-urlencoded' },
    body: Buffer.from(form.toString()),
  });
  yield* checkCookie(answer, address);
}

/** @throws Failed */
function requireSignInPage(answer: Answer): void {
  if (header(answer, 'cf-mitigated') !== undefined) throw unexpected(answer);
  if (answer.status === 200 && answer.body.includes('name="secret"')) return;
  throw new Failed(
    `${answer.url.host} answers ${SIGN_IN} with ${answer.status}, and not with the page to sign in`,
    'Check that the host is a custom domain of the Worker: docs/console.md.',
  );
}

function* checkCookie(answer: Answer, { protocol, host }: URL): Generator<Found, void> {
  const isSecure = protocol === 'https:';
  const cookies = [answer.headers['set-cookie'] ?? []].flat();
  const name = `${isSecure ? '__Host-' : ''}berth-session`;
  const cookie = cookies.find((each) => each.startsWith(`${name}=`));
  if (answer.status !== 303 || cookie === undefined) {
    return yield failure(`signing in at ${host} is answered with ${answer.status}, without the cookie ${name}`, COOKIE);
  }
  const attributes = cookie.split(';').slice(1);
  const given = new Set(attributes.map((attribute) => attribute.trim().toLowerCase()));
  const wanted = ['Path=/', 'HttpOnly', 'SameSite=Strict', ...(isSecure ? ['Secure'] : [])];
  const missing = wanted.filter((attribute) => !given.has(attribute.toLowerCase()));
  if (missing.length > 0) return yield failure(`the session's cookie of ${host} lacks ${missing.join(', ')}`, COOKIE);
  if ([...given].some((attribute) => attribute.startsWith('domain=')))
    return yield failure(`the session's cookie of ${host} has a Domain, so other hosts get it`, COOKIE);
  yield ok(`signing in at ${host} sets a cookie that neither scripts nor other hosts get`);
}
