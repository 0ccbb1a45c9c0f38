/**
 * Asks central's management API for the content of a node's store that central lacks, and makes central forget the
 * store.
 */
import { z } from 'zod';
import { Refusal } from './wrangler-toml.ts';

const TIMEOUT_MILLISECONDS = 30_000;
const CHECK_URL = 'Check that --url is a central registry of this version.';

const state = z.object({
  /** Whether the queue answers. If not, its counts are unknown. */
  answers: z.boolean(),
  /** Outbox entries of the store: tags and manifests that are not yet announced to central. */
  depth: z.number(),
  oldest_outbox_entry_seconds: z.number().nullable(),
  parked: z.number(),
  paused: z.boolean(),
  /** Blobs of the store that have yet to be copied up to central. */
  copies_up: z.object({ blobs: z.number(), bytes: z.number() }),
});

const page = z.object({
  items: z.array(
    z.union([
      z.object({
        kind: z.enum(['manifest', 'tag']),
        repository: z.string(),
        key: z.string(),
        /** Pushed with a manifest, and not listed itself. */
        tag: z.string().optional(),
      }),
      z.object({
        kind: z.literal('blob'),
        organization: z.string(),
        key: z.string(),
        size: z.number(),
        /** Whether another node has it. */
        elsewhere: z.boolean(),
      }),
    ]),
  ),
  last: z.string().nullable(),
  /**
   * False if the node's database does not answer, or if the node is retired. Then the node may have pushes that nobody
   * else knows of.
   */
  complete: z.boolean(),
});

const forgotten = z.object({ locations: z.number(), last: z.string().nullable() });

const refused = z.object({ errors: z.array(z.object({ message: z.string() })).min(1) });

export type StoreState = z.infer<typeof state>;
export type OnlyHere = z.infer<typeof page>['items'][number];

export interface Central {
  readonly url: string;
  /** The name of an administrator's credential. */
  readonly user: string;
  readonly password: string;
}

/** Central refuses for now. The message says why. */
export class Conflict extends Refusal {}

/** Central does not know the store. The message names those that it knows. */
export class UnknownStore extends Refusal {}

/** Central, or the node's store behind it, did not answer. */
export class Unavailable extends Refusal {}

/** Returns the state of the store's queue. @throws Unavailable, Refusal */
export async function stateOf(central: Central, store: string): Promise<StoreState> {
  return ask(central, `/api/replication/queues/${store}`, state);
}

/**
 * Yields everything that the store has and central lacks, page by page, and 'incomplete' for each incomplete page.
 * @throws Unavailable, Refusal
 */
export async function* onlyAt(central: Central, store: string): AsyncGenerator<OnlyHere | 'incomplete'> {
  let last: string | null = null;
  const seen = new Set<string>();
  do {
    const query: string = last === null ? '' : `?last=${encodeURIComponent(last)}`;
    const answer: z.infer<typeof page> = await ask(central, `/api/replication/queues/${store}/only-here${query}`, page);
    if (!answer.complete) yield 'incomplete';
    yield* answer.items;
    last = answer.last;
    if (last !== null && seen.has(last))
      throw new Refusal(`${central.url} repeats the page after ${last}. ${CHECK_URL}`);
    if (last !== null) seen.add(last);
  } while (last !== null);
}

/**
 * Makes central forget the blob locations of a store that no node uses. Returns the number of locations.
 * @param lost whether central may also forget blobs whose bytes it lacks
 * @throws Conflict, UnknownStore, Unavailable, Refusal
 */
export async function forget(central: Central, store: string, lost: boolean): Promise<number> {
  let last: string | null = '';
  let locations = 0;
  do {
    const before: string = last;
    const path = `/api/replication/stores/${encodeURIComponent(store)}/locations`;
    const query = `?lost=${lost}&last=${encodeURIComponent(before)}`;
    const answer: z.infer<typeof forgotten> = await ask(central, `${path}${query}`, forgotten, 'DELETE');
    locations += answer.locations;
    last = answer.last;
    if (last !== null && last <= before)
      throw new Refusal(`${central.url} makes no progress: it is at ${last} again. ${CHECK_URL}`);
  } while (last !== null);
  return locations;
}

async function ask<T>(
  { url, user, password }: Central,
  path: string,
  shape: z.ZodType<T>,
  method: 'GET' | 'DELETE' = 'GET',
): Promise<T> {
  const address = new URL(path, url);
  const headers = { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
  let response: Response;
  let body: string;
  try {
    response = await fetch(address, {
      method,
      headers,
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
    });
    body = await response.text();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Refusal(`${address.href} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (response.status === 404 || response.status === 409) {
    const { data } = refused.safeParse(parsedJson(body));
    const message = data?.errors[0]?.message ?? `${address.href} answers ${response.status}: ${body.slice(0, 500)}`;
    throw response.status === 404 ? new UnknownStore(message) : new Conflict(message);
  }
  if (response.status === 503) throw new Unavailable(`${address.href} answers 503: ${body.slice(0, 500)}`);
  if (response.status === 401 || response.status === 403) {
    throw new Refusal(
      `${address.href} answers ${response.status}: BERTH_USER and BERTH_PASSWORD must be an administrator's.`,
    );
  }
  if (!response.ok) throw new Refusal(`${address.href} answers ${response.status}: ${body.slice(0, 500)}`);
  const parsed = shape.safeParse(parsedJson(body));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = `${issue?.path.join('.')}: ${issue?.message}`;
  throw new Refusal(`${address.href} answers in an unexpected form: ${field}. ${CHECK_URL}`);
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
