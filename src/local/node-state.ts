/** What central's management API knows of a node's store that replication has not finished; and having it forgotten. */
import { z } from 'zod';
import { Refusal } from './wrangler-toml.ts';

const TIMEOUT_MILLISECONDS = 30_000;

const state = z.object({
  /** Whether the queue could be asked; if not, what it counts is not known. */
  answers: z.boolean(),
  /** Outbox entries of the store: tags and manifests that central has not heard of. */
  depth: z.number(),
  oldest_outbox_entry_seconds: z.number().nullable(),
  parked: z.number(),
  paused: z.boolean(),
  /** Blobs whose bytes lie at the store, and that central lacks. */
  copies_up: z.object({ blobs: z.number(), bytes: z.number() }),
});

const page = z.object({
  items: z.array(
    z.union([
      z.object({ kind: z.enum(['manifest', 'tag']), repository: z.string(), key: z.string() }),
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
   * False where the node's database cannot be asked: it does not answer, or the node is retired. Then it may have
   * pushes that nobody has heard of.
   */
  complete: z.boolean(),
});

const forgotten = z.object({ locations: z.number(), last: z.string().nullable() });

const refused = z.object({ errors: z.array(z.object({ message: z.string() })).min(1) });

export type StoreState = z.infer<typeof state>;
export type OnlyHere = z.infer<typeof page>['items'][number];

export interface Central {
  readonly url: string;
  /** An administrator's. */
  readonly user: string;
  readonly password: string;
}

/** Central will not do it as things are: the message says what stands in the way. */
export class InTheWay extends Refusal {}

/** Central knows of no such store: the message says which ones it knows. */
export class UnknownStore extends Refusal {}

/** Central, or the node's store behind it, did not answer: what it would have said is not known. */
export class Unavailable extends Refusal {}

/** @throws Unavailable, Refusal */
export async function stateOf(central: Central, store: string): Promise<StoreState> {
  return ask(central, `/api/replication/queues/${store}`, state);
}

/**
 * What lies at the store and not at central, page by page.
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
      throw new Refusal(`${central.url} answers the page after ${last} without end.`);
    if (last !== null) seen.add(last);
  } while (last !== null);
}

/**
 * Central forgets where the bytes of a store lay that no node is on. Answers how many locations went.
 * @param lost whether bytes that central lacks may be forgotten as well
 * @throws InTheWay, UnknownStore, Unavailable, Refusal
 */
export async function forget(central: Central, store: string, lost: boolean): Promise<number> {
  let last: string | null = '';
  let locations = 0;
  do {
    const before: string = last;
    const path = `/api/replication/stores/${encodeURIComponent(store)}/locations?lost=${lost}&last=${encodeURIComponent(before)}`;
    const answer: z.infer<typeof forgotten> = await ask(central, path, forgotten, 'DELETE');
    locations += answer.locations;
    last = answer.last;
    if (last !== null && last <= before)
      throw new Refusal(`${central.url} does not come to an end: it is at ${last} again.`);
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
    throw response.status === 404 ? new UnknownStore(message) : new InTheWay(message);
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
  throw new Refusal(
    `${address.href} answers what is not ${method === 'GET' ? 'a state' : 'an answer'}: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
