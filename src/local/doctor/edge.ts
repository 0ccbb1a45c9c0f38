/** Checks of the proxies in front of Berth, and of the answers that need no login. */
import { z } from 'zod';
import { type Answer, header, json, messageOf, requireStatus } from './client.ts';
import type { Host } from './hosts.ts';
import { Failed, type Found, failure, ok, warning } from './line.ts';
import type { Run } from './run.ts';

/** The User-Agent headers of registry clients. Security rules may judge a request by them. */
const CLIENTS = ['docker/28.5.1 go/go1.25.3', 'containerd/2.1.4', 'skopeo/1.20.0', 'Go-http-client/1.1'];

const LATEST = 'Deploy the latest code, and look for something in front of Berth that answers: docs/zone.md.';

const API_VERSION = 'Docker-Distribution-API-Version';

/** Checks that clients get Berth's own challenge to log in, and no page for browsers. */
export async function* checkLoginChallenge({ client }: Run, { url }: Host): AsyncGenerator<Found, void> {
  for (const agent of CLIENTS) {
    const answer = await client.ask(new URL('/v2/', url), { headers: { 'User-Agent': agent } });
    requireStatus(answer, 401);
    requireJson(answer);
    requireHeader(answer, API_VERSION, 'registry/2.0');
    const expected = `Bearer realm="${new URL('/token', url).href}",service="${url.host}"`;
    requireHeader(answer, 'WWW-Authenticate', expected);
  }
  yield ok(`docker, containerd, skopeo and crane are asked to log in at ${new URL('/token', url).href}`);
}

/** Checks a header. @throws Failed, which says what it has to be, and who may have changed it */
export function requireHeader(answer: Answer, name: string, expected: string): void {
  const value = header(answer, name);
  if (value === expected) return;
  throw new Failed(
    `${answer.method} ${answer.url.pathname}: ${name} is ${value === undefined ? 'missing' : `"${value}"`}, not "${expected}"`,
    'Look for a transform rule, a snippet or another Worker that changes headers: docs/zone.md.',
  );
}

/** @throws Failed */
function requireJson(answer: Answer): void {
  if (json(answer) !== undefined) return;
  const encoding = header(answer, 'Content-Encoding');
  throw new Failed(
    `${answer.method} ${answer.url.pathname} is answered with ${answer.status}, but not in JSON${encoding === undefined ? '' : ` (Content-Encoding: ${encoding})`}`,
    'Something in front of Berth answers or changes answers: docs/zone.md.',
  );
}

const health = z.object({
  status: z.enum(['ok', 'unavailable']),
  stores: z.record(z.string(), z.object({ database: z.string(), bucket: z.string() })),
});

/** Checks the configuration, and the host's own database and bucket. */
export async function* checkHealth({ client }: Run, { url }: Host): AsyncGenerator<Found, void> {
  const answer = await client.ask(new URL('/healthz', url));
  const message = messageOf(answer);
  if (answer.status === 503 && message !== undefined) {
    return yield failure(
      `/healthz is answered with 503: ${message}`,
      'Set the value that it names in wrangler.toml, or with npx wrangler secret put <name> --env production.',
    );
  }
  const { data } = health.safeParse(json(requireStatus(answer, 200, 503)));
  if (data === undefined) return yield failure(`/healthz is answered with ${answer.status}, in another form`, LATEST);
  const parts = Object.entries(data.stores).flatMap(([store, { database, bucket }]) =>
    [database === 'ok' ? '' : `the database of ${store}`, bucket === 'ok' ? '' : `the bucket of ${store}`].filter(
      Boolean,
    ),
  );
  if (data.status === 'ok') return yield ok('configuration, database and bucket are good');
  yield failure(
    `${parts.join(' and ')} ${parts.length === 1 ? 'does' : 'do'} not answer`,
    'Run npm run deploy, which applies migrations; then look at the log: npx wrangler tail --env production.',
  );
}

/** Differences in seconds. Berth lets clocks differ by 5 seconds where it judges a token. */
const NOTICEABLE = 5;
const WRONG = 60;

/** Compares the clock of this machine with the one that dates tokens. Anybody can get a token for public content. */
export async function* checkClock({ client }: Run, { url }: Host): AsyncGenerator<Found, void> {
  const asked = Date.now();
  const answer = requireStatus(await client.ask(new URL('/token', url)), 200);
  const answered = Date.now();
  const { data } = z.object({ issued_at: z.iso.datetime() }).safeParse(json(answer));
  if (data === undefined) return yield failure('/token does not state the time', LATEST);
  const issued = Date.parse(data.issued_at);
  const difference = issued < asked ? issued - asked : Math.max(0, issued - answered);
  const seconds = Math.round(Math.abs(difference) / 1000);
  const seen = `${seconds} s ${difference < 0 ? 'behind' : 'ahead of'} this machine`;
  const todo = 'Set the clock of this machine (NTP). If it is right, ask Cloudflare: versions of pushes come from it.';
  if (seconds > WRONG) return yield failure(seen, todo);
  if (seconds > NOTICEABLE) return yield warning(seen, todo);
  yield ok(seconds === 0 ? 'the same as on this machine' : seen);
}
