/** Runs the steps of an upload sequence against the registry and the model at once, and compares them. */
import { expect } from 'vitest';
import type { ChunkRange, NamedDigest, StatedBody, Step, Tampering, Uploader } from '../generate/uploads.ts';
import { type Algorithm, concatenate, digestOf } from '../model/digests.ts';
import { isDigest } from '../model/names.ts';
import { isDigits } from '../model/text.ts';
import { answersTo, apply, rangeOf, type Session, type SessionRequest } from '../model/uploads.ts';
import { type Expected, expectOneOf } from './answers.ts';
import { type Answer, exchange, type Sent } from './exchange.ts';
import { expectUnchanged, settledState } from './state.ts';

type StepOf<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>;
type SessionStep = StepOf<'session'>;

const NOTHING = new Uint8Array(0);
const ORGANIZATIONS: Readonly<Record<Uploader, string>> = { alice: 'alice', aliceApp: 'alice', bob: 'bob' };

export class Uploading {
  readonly #sessions: Session[] = [];
  /** The bytes of each acknowledged blob, by `<repository> <digest>`. */
  readonly #blobs = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #pushed: { readonly repository: string; readonly digest: string }[] = [];
  #state: string;
  #last = '';

  private constructor(state: string) {
    this.#state = state;
  }

  /** Requires an empty store. */
  static async begin(): Promise<Uploading> {
    return new Uploading(await settledState());
  }

  take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'open':
        return this.#open(step);
      case 'whole':
        return this.#whole(step);
      case 'mount':
        return this.#mount(step);
      case 'delete blob':
        return this.#deleteBlob(step);
      case 'session':
        return this.#session(step);
    }
  }

  /** Returns the acknowledged blobs that are not served as they were pushed. */
  async lost(): Promise<string[]> {
    const lost: string[] = [];
    for (const [name, bytes] of this.#blobs) {
      const [repository = '', digest = ''] = name.split(' ');
      const as = repository.startsWith('bob/') ? 'bob' : 'alice';
      const answer = await exchange({ method: 'GET', path: `/v2/${repository}/blobs/${digest}`, as });
      const [served, pushed] = await Promise.all([digestOf('sha256', answer.bytes), digestOf('sha256', bytes)]);
      if (answer.status !== 200 || served !== pushed) lost.push(name);
    }
    return lost;
  }

  async #open({ user, repository, algorithm }: StepOf<'open'>): Promise<void> {
    const query = algorithm === undefined ? '' : `?digest-algorithm=${algorithm}`;
    const path = `/v2/${repository}/blobs/uploads/${query}`;
    const isKnown = algorithm === undefined || algorithm === 'sha256' || algorithm === 'sha512';
    const faults: Expected[] = isKnown ? [] : ['400 DIGEST_INVALID'];
    const answer = await this.#ask(
      { method: 'POST', path, as: user },
      this.#faultsOf(user, repository, faults, '202'),
      'changes nothing',
    );
    if (answer.status === 202) this.#addSession(user, repository, answer);
  }

  async #whole({ user, repository, body, streamed, digest }: StepOf<'whole'>): Promise<void> {
    const bytes = Uint8Array.from(body);
    const named = await this.#nameDigest(digest, bytes, bytes);
    if (named === undefined) return this.#open({ kind: 'open', user, repository, algorithm: undefined });
    const isRight = isDigest(named) && named === (await digestOf(algorithmIn(named), bytes));
    const expected = this.#faultsOf(user, repository, isRight ? [] : ['400 DIGEST_INVALID'], '201');
    const path = `/v2/${repository}/blobs/uploads/?digest=${encodeURIComponent(named)}`;
    const answer = await this.#ask({ method: 'POST', path, as: user, body: bytes, streamed }, expected, 'writes');
    if (answer.status === 201) this.#addBlob(repository, named, bytes, answer);
  }

  async #mount({ user, repository, blob, from, digest }: StepOf<'mount'>): Promise<void> {
    const named = digest ?? this.#pushed[blob]?.digest ?? `sha256:${'0'.repeat(64)}`;
    const query = new URLSearchParams({ mount: named, ...(from !== undefined && { from }) });
    // A blob that the repository already has can be mounted from any source.
    const sources = [repository, ...(from === undefined ? this.#pushed.map((one) => one.repository) : [from])];
    const found = (from === 'no name' ? [] : sources)
      .filter((source) => source.startsWith(`${ORGANIZATIONS[user]}/`))
      .map((source) => this.#blobs.get(`${source} ${named}`))
      .find((bytes) => bytes !== undefined);
    const faults: Expected[] = isDigest(named) ? [] : ['400 DIGEST_INVALID'];
    const expected = this.#faultsOf(user, repository, faults, found === undefined ? '202' : '201');
    const path = `/v2/${repository}/blobs/uploads/?${query.toString()}`;
    const answer = await this.#ask(
      { method: 'POST', path, as: user },
      expected,
      found === undefined ? 'changes nothing' : 'writes',
    );
    if (answer.status === 202) this.#addSession(user, repository, answer);
    if (answer.status === 201 && found !== undefined) this.#addBlob(repository, named, found, answer);
  }

  async #deleteBlob({ blob }: StepOf<'delete blob'>): Promise<void> {
    const { repository, digest } = this.#pushed[blob] ?? {
      repository: 'alice/app',
      digest: `sha256:${'0'.repeat(64)}`,
    };
    const isThere = this.#blobs.delete(`${repository} ${digest}`);
    const as = repository.startsWith('bob/') ? 'bob' : 'alice';
    await this.#ask(
      { method: 'DELETE', path: `/v2/${repository}/blobs/${digest}`, as },
      [isThere ? '202' : '404 BLOB_UNKNOWN'],
      'writes',
    );
  }

  async #session(step: SessionStep): Promise<void> {
    const session = this.#sessions[step.session % Math.max(1, this.#sessions.length)];
    if (session === undefined) return;
    const { method, streamed } = step;
    const takesBody = method === 'PATCH' || method === 'PUT';
    const url = session.urls.at(-1 - (step.age % session.urls.length)) ?? { path: '', offset: 0 };
    const { path, user } = tamper(step.tampering, url.path, session);
    const body = takesBody && step.body !== undefined ? bytesOf(step.body) : undefined;
    const all = concatenate(session.received, body ?? NOTHING);
    const digest = method === 'PUT' ? await this.#nameDigest(step.digest, all, body ?? NOTHING) : undefined;
    const range = takesBody ? rangeText(step.range, url.offset, body ?? NOTHING) : undefined;
    const algorithm = algorithmIn(digest ?? '');
    const request: SessionRequest = {
      method,
      offset: path === url.path && user === session.user ? url.offset : undefined,
      range: range === undefined ? undefined : parseRange(range),
      body,
      streamed: streamed && body !== undefined,
      digest,
      isDigest: digest !== undefined && isDigest(digest),
      digestOfAll: await digestOf(algorithm, all),
      digestOfBody: await digestOf(algorithm, body ?? NOTHING),
    };
    const expected = new Set(answersTo(session, request, this.#blobs.has(`${session.repository} ${digest}`)));
    // An invalid length is a fault like any other. Without a body, no length is sent.
    const isBadLength = step.length !== undefined && body !== undefined && !streamed;
    if (isBadLength) addFault(expected, '400 SIZE_INVALID');
    const headers = {
      ...(range !== undefined && { 'Content-Range': range }),
      ...(isBadLength && { 'Content-Length': step.length ?? '' }),
    };
    const query = digest === undefined ? '' : `?digest=${encodeURIComponent(digest)}`;
    const sent = { method, path: `${path}${query}`, as: user, headers, body, streamed };
    const answer = await this.#ask(sent, expected, method === 'GET' ? 'changes nothing' : 'writes');
    if (answer.status < 300) this.#succeed(session, request, answer);
    else if (answer.status === 416) this.#addUrl(session, answer);
  }

  #succeed(session: Session, request: SessionRequest, answer: Answer): void {
    apply(session, request);
    if (request.method === 'PUT') this.#addBlob(session.repository, request.digest ?? '', session.received, answer);
    if (request.method === 'GET' || request.method === 'PATCH') this.#addUrl(session, answer);
  }

  async #ask(sent: Sent, expected: Iterable<Expected>, effect: 'changes nothing' | 'writes'): Promise<Answer> {
    const answer = await exchange(sent);
    const what = {
      after: this.#last,
      method: sent.method,
      path: sent.path,
      headers: sent.headers,
      body: sent.body !== undefined && sent.body.length > 64 ? `${sent.body.length} bytes` : sent.body?.toHex(),
    };
    expectOneOf(answer, expected, what);
    if (answer.status >= 400 || effect === 'changes nothing') await expectUnchanged(this.#state, what);
    else this.#state = await settledState();
    this.#last = `${sent.method} ${answer.status}`;
    return answer;
  }

  #faultsOf(user: Uploader, repository: string, faults: readonly Expected[], success: Expected): Expected[] {
    const allowed = repository.startsWith(`${ORGANIZATIONS[user]}/`);
    const all: Expected[] = allowed ? [...faults] : [...faults, '403 DENIED'];
    return all.length > 0 ? all : [success];
  }

  #addSession(user: Uploader, repository: string, answer: Answer): void {
    const session: Session = { repository, user, state: 'open', received: NOTHING, digest: undefined, urls: [] };
    this.#sessions.push(session);
    this.#addUrl(session, answer);
  }

  #addUrl(session: Session, { headers }: Answer): void {
    expect(headers.get('Range')).toBe(rangeOf(session));
    const path = headers.get('Location') ?? '';
    expect(path.startsWith(`/v2/${session.repository}/blobs/uploads/`)).toBe(true);
    session.urls.push({ path, offset: session.received.byteLength });
  }

  #addBlob(repository: string, digest: string, bytes: Uint8Array<ArrayBuffer>, { headers }: Answer): void {
    expect(headers.get('Location')).toBe(`/v2/${repository}/blobs/${digest}`);
    expect(headers.get('Docker-Content-Digest')).toBe(digest);
    this.#blobs.set(`${repository} ${digest}`, bytes);
    this.#pushed.push({ repository, digest });
  }

  async #nameDigest(
    named: NamedDigest,
    all: Uint8Array<ArrayBuffer>,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<string | undefined> {
    if (named === 'none') return undefined;
    if ('text' in named) return named.text.toWellFormed();
    if (named.of === 'last') return this.#pushed.at(-1)?.digest ?? digestOf(named.algorithm, all);
    return digestOf(named.algorithm, { all, body, other: Uint8Array.of(7) }[named.of]);
  }
}

function bytesOf(body: StatedBody): Uint8Array<ArrayBuffer> {
  return 'size' in body ? new Uint8Array(body.size).fill(body.of) : Uint8Array.from(body);
}

/** Adds a fault, and removes the successes, since the request can no longer succeed. */
function addFault(expected: Set<Expected>, fault: Expected): void {
  for (const one of expected) if (!one.includes(' ')) expected.delete(one);
  expected.add(fault);
}

function algorithmIn(digest: string): Algorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

function rangeText(range: ChunkRange, offset: number, body: Uint8Array): string | undefined {
  if (range === 'none') return undefined;
  if (range === 'right') return body.byteLength === 0 ? undefined : `${offset}-${offset + body.byteLength - 1}`;
  if ('text' in range) return range.text;
  return `${Math.max(0, offset + range.startBy)}-${Math.max(0, offset + body.byteLength - 1 + range.endBy)}`;
}

/** Parses two numbers. The end may be one less than the start: that is an empty range. */
function parseRange(text: string): { start: number; end: number } | 'bad' {
  const [start = '', end = '', ...more] = text.split('-');
  const isNumber = (digits: string): boolean => digits.length > 0 && isDigits(digits);
  if (more.length > 0 || !isNumber(start) || !isNumber(end) || Number(end) < Number(start) - 1) return 'bad';
  return { start: Number(start), end: Number(end) };
}

function tamper(tampering: Tampering, path: string, { user, repository }: Session): { path: string; user: Uploader } {
  const same = user as Uploader;
  if (tampering === 'none') return { path, user: same };
  if (tampering === 'another user') return { path, user: same === 'alice' ? 'aliceApp' : 'alice' };
  if (tampering === 'another repository') {
    const other = { 'alice/app': 'alice/team/x', 'alice/team/x': 'alice/app', 'bob/app': 'bob/x' }[repository] ?? '';
    return { path: path.replace(`/v2/${repository}/`, `/v2/${other}/`), user: same };
  }
  const slash = path.lastIndexOf('/') + 1;
  const reference = path.slice(slash);
  if ('field' in tampering) {
    const changed = reference.split('.').with(tampering.field, tampering.value).join('.');
    return { path: path.slice(0, slash) + changed, user: same };
  }
  // The last character of the signature is never changed: some of its bits encode nothing.
  const at = tampering.at % (reference.length - 1);
  const after = reference.slice(at + (tampering.instead ? 1 : 0));
  return { path: path.slice(0, slash) + encodeURI(reference.slice(0, at) + tampering.put + after), user: same };
}
