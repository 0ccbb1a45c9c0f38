/** Clients of a Worker whose stores fail at random. They retry as real clients do, and check each answer. */
import { env } from 'cloudflare:workers';
import type { Hono } from 'hono';
import type { AppEnv } from '../../src/http/context.ts';
import { basic, HOST, USERS } from './client.ts';
import { secrets } from './console.ts';
import { type Call, type CallKind, type Fault, faulty } from './faults.ts';
import type { Random } from './random.ts';
import type { Change } from './registry-changes.ts';
import type { Actor } from './registry-jobs.ts';
import {
  type Answer,
  type Client,
  differencesOfEach,
  expectationsOf,
  type Outgoing,
  partialExpectationsOf,
  RepositoryState,
} from './registry-model.ts';

/** Attempts while the stores fail. After these the stores heal. */
const ATTEMPTS = 3;

/** Reasons for an object that no row names: faults between R2 and D1. */
export const LEAK_REASONS = {
  'delete failed': 'its own deletion failed',
  'commit failed': 'D1 failed during its commit, which may have taken effect, so the registry leaves the object',
  'comparison failed': 'R2 failed when the registry asked whether its earlier object still exists',
} as const;
export type LeakReason = keyof typeof LEAK_REASONS;

export interface Outcomes {
  requests: number;
  faults: number;
  /** Faults that never answered. */
  stalls: number;
  /** Batches that were committed, with their answers lost: some of them run again. */
  lostCommits: number;
  /** Answers with status 503. */
  unavailable: number;
  /** Bodies of answers that broke off. */
  broken: number;
  /** Requests that had to wait until the stores had healed. */
  afterHealing: number;
}

interface Made extends Call {
  readonly request: number;
  readonly fault: Fault;
}

export class FaultyClient {
  readonly actor: FaultyActor;
  /** The environment whose stores fail. */
  readonly env: Env;
  readonly outcomes: Outcomes;
  readonly #app: Hono<AppEnv>;
  readonly #random: Random;
  readonly #made: Made[] = [];
  readonly #requests: string[] = [];
  #failing = false;

  constructor(app: Hono<AppEnv>, random: Random, repository: string, outcomes: Outcomes) {
    this.#app = app;
    this.#random = random;
    this.outcomes = outcomes;
    const unlimited = { limit: async () => ({ success: true }) };
    this.env = faulty({ ...env, CREDENTIAL_CHECKS: unlimited, ADDRESS_CHECKS: unlimited }, (call) =>
      this.#decide(call),
    );
    this.actor = new FaultyActor(repository, random, this);
  }

  /** Lets the stores fail from now on. */
  fail(): void {
    this.#failing = true;
  }

  heal(): void {
    this.#failing = false;
  }

  readonly send: Client = async ({ method, path, headers = {}, body, chunked = false }) => {
    this.outcomes.requests++;
    const length = body === undefined || chunked ? {} : { 'Content-Length': String(body.byteLength) };
    const request = new Request(`${HOST}${path}`, {
      method,
      headers: { ...headers, ...length, Authorization: basic(USERS.alice) },
      ...(body === undefined ? {} : { body }),
    });
    const deferred: Promise<unknown>[] = [];
    const context = {
      waitUntil: (work: Promise<unknown>) => void deferred.push(work.catch(() => undefined)),
      passThroughOnException: () => undefined,
      props: {},
    };
    secrets.addAuthorization(basic(USERS.alice));
    const response = await this.#app.fetch(request, this.env, context);
    secrets.addLocation(response.headers.get('Location') ?? '');
    const content = await bodyOf(response, method);
    await Promise.all(deferred);
    this.#requests.push(
      `${method} ${path.slice(0, 160)}: ${response.status}${content === undefined ? ', broke off' : ''}`,
    );
    return { status: response.status, header: (name) => response.headers.get(name), body: content };
  };

  /** Returns the fault that explains why an object has no row; undefined if none does. */
  explanationOf(key: string): LeakReason | undefined {
    if (this.#made.some((call) => call.kind === 'delete' && isWithoutEffect(call.fault) && call.keys.includes(key))) {
      return 'delete failed';
    }
    const written = this.#made.findIndex((call) => isWrite(call.kind) && call.keys.includes(key));
    const since = this.#made.filter((call, i) => i > written && call.request === this.#made[written]?.request);
    const failed = (kind: CallKind) =>
      since.some(({ kind: called, fault }) => called === kind && (isWithoutEffect(fault) || isWithoutAnswer(fault)));
    if (failed('batch')) return 'commit failed';
    return failed('head') ? 'comparison failed' : undefined;
  }

  /** Returns the last requests and their calls, with the fault of each call. */
  history(count: number): string {
    return this.#requests
      .map((line, request) => {
        const calls = this.#made.filter((call) => call.request === request);
        return [
          line,
          ...calls.map(({ kind, fault, keys }) => `  ${kind} ${JSON.stringify(fault)} ${keys.join(' ')}`),
        ].join('\n');
      })
      .slice(-count)
      .join('\n');
  }

  #decide(call: Call): Fault {
    const fault = this.#failing ? this.#chance(call) : 'ok';
    if (fault !== 'ok') this.outcomes.faults++;
    if (fault === 'stall' || fault === 'stall after') this.outcomes.stalls++;
    if (fault === 'after' && call.kind === 'batch') this.outcomes.lostCommits++;
    this.#made.push({ ...call, fault, request: this.#requests.length });
    return fault;
  }

  #chance({ kind, streams }: Call): Fault {
    const random = this.#random;
    if (kind === 'get' && random.chance(0.15)) return { breakAt: random.next() };
    const fault = random.weighted({ ok: 72, before: 8, after: 8, late: 4, stall: 4, 'stall after': 4 });
    // The deadline of a call with a stream starts when the stream ends, so a stall would never end.
    if (streams && fault === 'stall') return 'before';
    if (streams && fault === 'stall after') return 'after';
    return fault === 'late' ? { delay: random.between(0, 2) } : fault;
  }
}

class FaultyActor implements Actor {
  readonly state: RepositoryState;
  readonly random: Random;
  readonly #client: FaultyClient;

  constructor(repository: string, random: Random, client: FaultyClient) {
    this.state = new RepositoryState(repository);
    this.random = random;
    this.#client = client;
  }

  ask(request: Outgoing, status: number): Promise<Answer> {
    return this.#answered(request, () => [status]);
  }

  async change(change: Change): Promise<Answer> {
    const done = this.state.copy();
    change.apply(done);
    const begun = this.state.copy();
    change.firstStep?.(begun);
    const answer = await this.#answered(
      change.request,
      (attempt) => (attempt === 0 ? [change.status] : [change.status, change.statusIfDone]),
      () => this.#requireNotHalf([this.state, begun, done]),
    );
    change.apply(this.state);
    return answer;
  }

  /** Reads something at random. The answer must be right, a 503, or broken off. */
  async read(): Promise<void> {
    for (const expectations of [expectationsOf(this.state), partialExpectationsOf(this.state)]) {
      const expectation = this.random.pick(expectations);
      if (expectation === undefined) continue;
      const answer = await this.#client.send(expectation.request);
      if (isUnavailable(answer)) this.#client.outcomes.unavailable++;
      else if (answer.status < 300 && answer.body === undefined) this.#client.outcomes.broken++;
      else requireNothing([expectation.check(answer)]);
    }
  }

  /**
   * Retries while the answer is 503, the last time with healed stores. Calls `look` between attempts.
   */
  async #answered(
    request: Outgoing,
    allowed: (attempt: number) => readonly number[],
    look: () => Promise<void> = async () => undefined,
  ): Promise<Answer> {
    const { outcomes } = this.#client;
    for (let attempt = 0; ; attempt++) {
      const answer = await this.#client.send(request);
      this.#client.fail();
      if (allowed(attempt).includes(answer.status)) return answer;
      if (attempt >= ATTEMPTS || !isUnavailable(answer)) {
        const text = answer.body === undefined ? '' : new TextDecoder().decode(answer.body);
        throw new Error(
          `${request.method} ${request.path}: ${answer.status}, not ${allowed(attempt).join(' or ')}: ${text}`,
        );
      }
      outcomes.unavailable++;
      this.#client.heal();
      await look();
      if (attempt < ATTEMPTS - 1) this.#client.fail();
      else outcomes.afterHealing++;
    }
  }

  /** Checks a change that was answered with 503: it was made completely, only in its first step, or not at all. */
  async #requireNotHalf(states: readonly RepositoryState[]): Promise<void> {
    const wrong = await differencesOfEach(this.#client.send, states, { only: 'what differs' });
    if (wrong.every((found) => found.length > 0))
      throw new Error(`a change was made in part: ${JSON.stringify(wrong)}`);
  }
}

/** Whether the answer is 503. @throws if it is a 503 without the headers and the code that clients need */
function isUnavailable(answer: Answer): boolean {
  if (answer.status !== 503) return false;
  const seconds = answer.header('Retry-After') ?? '';
  // The answer to HEAD has no body.
  const text = answer.body === undefined ? '' : new TextDecoder().decode(answer.body);
  const code = text === '' ? 'UNAVAILABLE' : (JSON.parse(text) as { errors: { code: string }[] }).errors[0]?.code;
  if (!/^\d+$/.test(seconds) || code !== 'UNAVAILABLE')
    throw new Error(`a 503 is malformed, with Retry-After "${seconds}": ${text}`);
  return true;
}

function requireNothing(found: readonly (string | undefined)[]): void {
  const wrong = found.filter((entry) => entry !== undefined);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
}

/** Returns the body; undefined if it breaks off or ends before its Content-Length. */
async function bodyOf(response: Response, method: string): Promise<Uint8Array | undefined> {
  const length = response.headers.get('Content-Length');
  const body = await response.arrayBuffer().catch(() => undefined);
  if (body === undefined) return undefined;
  const short = method !== 'HEAD' && length !== null && Number(length) > body.byteLength;
  return short ? undefined : new Uint8Array(body);
}

function isWithoutEffect(fault: Fault): boolean {
  return fault === 'before' || fault === 'stall';
}

function isWithoutAnswer(fault: Fault): boolean {
  return fault === 'after' || fault === 'stall after';
}

function isWrite(kind: CallKind): boolean {
  return kind === 'put' || kind === 'createMultipartUpload';
}
