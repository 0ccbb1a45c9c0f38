/**
 * A model of a repository after its acknowledged writes, to compare a registry's answers with, inside workerd or over
 * HTTP.
 */

export interface Outgoing {
  readonly method: string;
  /** The absolute path, with the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Sends the body without Content-Length. */
  readonly chunked?: boolean;
}

export interface Answer {
  readonly status: number;
  header(name: string): string | null;
  /** Undefined if it broke off, or is not as long as its Content-Length says. */
  readonly body: Uint8Array | undefined;
}

export type Client = (request: Outgoing) => Promise<Answer>;

export interface Content {
  readonly digest: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Document extends Content {
  readonly mediaType: string;
  /** Digests of its config and layers. */
  readonly blobs: readonly string[];
  readonly subject?: string;
}

export interface Session {
  /** The target of its next request. */
  location: string;
  /** Bytes that were acknowledged. */
  size: number;
  open: boolean;
  /** The digest of the blob that is being uploaded. */
  readonly digest: string;
}

/** The state of one repository. */
export class RepositoryState {
  readonly name: string;
  blobs = new Map<string, Content>();
  manifests = new Map<string, Document>();
  tags = new Map<string, string>();
  /** Deleted things, as `manifests/<reference>` and `blobs/<digest>`. */
  gone = new Set<string>();
  session: Session | undefined;
  /** Whether the repository ever had a manifest. */
  known = false;

  constructor(name: string) {
    this.name = name;
  }

  copy(): RepositoryState {
    const copy = new RepositoryState(this.name);
    copy.blobs = new Map(this.blobs);
    copy.manifests = new Map(this.manifests);
    copy.tags = new Map(this.tags);
    copy.gone = new Set(this.gone);
    copy.session = this.session === undefined ? undefined : { ...this.session };
    copy.known = this.known;
    return copy;
  }

  /** Returns the digests of blobs that no manifest names. */
  unreferenced(): string[] {
    const named = new Set([...this.manifests.values()].flatMap(({ blobs }) => blobs));
    return [...this.blobs.keys()].filter((digest) => !named.has(digest));
  }
}

export interface Expectation {
  readonly request: Outgoing;
  /** A summary of the answer. Two expectations of a path with the same promise are the same. */
  readonly promise: string;
  /** Returns what is wrong with the answer; undefined if nothing is. */
  readonly check: (answer: Answer) => string | undefined;
  /** Bytes that the check compares. */
  readonly bytes: number;
}

/** Returns one expectation for each thing that a state promises. */
export function expectationsOf(state: RepositoryState): Expectation[] {
  const at = `/v2/${state.name}`;
  const expected = [
    ...[...state.tags].map(([tag, digest]) => whole(`${at}/manifests/${tag}`, known(state.manifests, digest))),
    ...[...state.manifests.values()].map((document) => whole(`${at}/manifests/${document.digest}`, document)),
    ...[...state.blobs.values()].map((blob) => whole(`${at}/blobs/${blob.digest}`, blob)),
    ...[...state.gone].map((path) => status(`${at}/${path}`, 404)),
    state.known ? list(`${at}/tags/list`, 'tags', [...state.tags.keys()]) : status(`${at}/tags/list`, 404),
  ];
  const subjects = new Set(
    [...state.manifests.values()].flatMap(({ subject }) => (subject === undefined ? [] : [subject])),
  );
  for (const subject of subjects) {
    const referrers = [...state.manifests.values()].filter((document) => document.subject === subject);
    expected.push(
      list(
        `${at}/referrers/${subject}`,
        'manifests',
        referrers.map(({ digest }) => digest),
      ),
    );
  }
  if (state.session !== undefined) expected.push(progress(state.session));
  return expected;
}

/** Like {@link expectationsOf}, for the headers of everything and for the second half of each blob. */
export function partialExpectationsOf(state: RepositoryState): Expectation[] {
  const at = `/v2/${state.name}`;
  const head = (path: string, { digest, bytes }: Content): Expectation => ({
    request: { method: 'HEAD', path },
    promise: digest,
    bytes: 0,
    check: (answer) => {
      if (answer.status !== 200) return `HEAD ${path}: ${answer.status}`;
      const [size, named] = [answer.header('Content-Length'), answer.header('Docker-Content-Digest')];
      return size === String(bytes.byteLength) && named === digest
        ? undefined
        : `HEAD ${path}: ${named}, ${size} bytes`;
    },
  });
  const tail = (path: string, { digest, bytes }: Content): Expectation[] => {
    const from = Math.floor(bytes.byteLength / 2);
    if (bytes.byteLength === 0) return [];
    return [
      {
        request: { method: 'GET', path, headers: { Range: `bytes=${from}-` } },
        promise: digest,
        bytes: bytes.byteLength - from,
        check: (answer) =>
          answer.status === 206 && equal(answer.body, bytes.subarray(from))
            ? undefined
            : `range of ${path}: ${answer.status}`,
      },
    ];
  };
  const blobs = [...state.blobs.values()];
  return [
    ...[...state.tags].map(([tag, digest]) => head(`${at}/manifests/${tag}`, known(state.manifests, digest))),
    ...[...state.manifests.values()].map((document) => head(`${at}/manifests/${document.digest}`, document)),
    ...blobs.map((blob) => head(`${at}/blobs/${blob.digest}`, blob)),
    ...blobs.flatMap((blob) => tail(`${at}/blobs/${blob.digest}`, blob)),
    ...[...state.gone].map((path) => status(`${at}/${path}`, 404, 'HEAD')),
  ];
}

/** Returns the differences between a registry and a state. */
export async function differences(client: Client, state: RepositoryState): Promise<string[]> {
  const [found = []] = await differencesOfEach(client, [state]);
  return found;
}

/**
 * Like {@link differences}, for several states that the registry may be in. Promises that they share are checked once,
 * or not at all. A thing that one state lacks and another has must be a 404 in the first.
 */
export async function differencesOfEach(
  client: Client,
  states: readonly RepositoryState[],
  {
    compared = { bytes: 0 },
    only = 'everything',
  }: { compared?: { bytes: number }; only?: 'everything' | 'what differs' } = {},
): Promise<string[][]> {
  const promised = states.map(expectationsOf);
  const paths = promised.map((expectations) => new Set(expectations.map(({ request }) => request.path)));
  const isCommon = ({ request: { path }, promise }: Expectation): boolean =>
    promised.every((expectations) =>
      expectations.some((other) => other.request.path === path && other.promise === promise),
    );
  const answers = new Map<string, Answer>();
  const found: string[][] = states.map(() => []);
  for (const [i, expectations] of promised.entries()) {
    const lacking = [...new Set(paths.flatMap((others) => [...others]))].filter(
      (path) => !paths[i]?.has(path) && CONTENT.test(path),
    );
    for (const expectation of [...expectations, ...lacking.map((path) => status(path, 404))]) {
      if (only === 'what differs' && isCommon(expectation)) continue;
      const { request, check, bytes } = expectation;
      const answer = answers.get(request.path) ?? (await client(request));
      if (!answers.has(request.path)) compared.bytes += bytes;
      answers.set(request.path, answer);
      const wrong = check(answer);
      if (wrong !== undefined) found[i]?.push(wrong);
    }
  }
  return found;
}

/** Paths of manifests and blobs. */
const CONTENT = /\/(?:manifests|blobs)\/[^/]+$/;

function whole(path: string, { digest, bytes }: Content): Expectation {
  return {
    request: { method: 'GET', path },
    promise: digest,
    bytes: bytes.byteLength,
    check: (answer) => {
      if (answer.status !== 200) return `GET ${path}: ${answer.status}`;
      if (answer.body === undefined) return `GET ${path}: the body broke off`;
      if (answer.header('Docker-Content-Digest') !== digest)
        return `GET ${path}: ${answer.header('Docker-Content-Digest')}`;
      return equal(answer.body, bytes) ? undefined : `GET ${path}: other bytes`;
    },
  };
}

function status(path: string, expected: number, method: 'GET' | 'HEAD' = 'GET'): Expectation {
  const check = (answer: Answer) =>
    answer.status === expected ? undefined : `${method} ${path}: ${answer.status}, not ${expected}`;
  return { request: { method, path }, promise: String(expected), bytes: 0, check };
}

function list(path: string, field: 'tags' | 'manifests', expected: readonly string[]): Expectation {
  const wanted = [...expected].toSorted().join(' ');
  return {
    request: { method: 'GET', path },
    promise: wanted,
    bytes: 0,
    check: (answer) => {
      if (answer.status !== 200 || answer.body === undefined) return `GET ${path}: ${answer.status}`;
      const items = (JSON.parse(new TextDecoder().decode(answer.body)) as Record<string, unknown[]>)[field] ?? [];
      const names = items.map((item) => (typeof item === 'string' ? item : (item as { digest: string }).digest));
      const shown = names.toSorted().join(' ');
      return shown === wanted ? undefined : `GET ${path}: ${shown}, not ${wanted}`;
    },
  };
}

function progress({ location, size, open }: Session): Expectation {
  const range = `0-${Math.max(0, size - 1)}`;
  return {
    request: { method: 'GET', path: location },
    promise: open ? range : 'finished',
    bytes: 0,
    check: (answer) => {
      if (!open) return answer.status === 404 ? undefined : `a finished upload: ${answer.status}`;
      const right = answer.status === 204 && answer.header('Range') === range;
      return right ? undefined : `an upload of ${size} bytes: ${answer.status}, ${answer.header('Range')}`;
    },
  };
}

export function known<Item>(items: ReadonlyMap<string, Item>, key: string): Item {
  const item = items.get(key);
  if (item === undefined) throw new Error(`the model does not have ${key}`);
  return item;
}

function equal(a: Uint8Array | undefined, b: Uint8Array): boolean {
  if (a === undefined || a.byteLength !== b.byteLength) return false;
  for (let i = 0; i < b.byteLength; i++) if (a[i] !== b[i]) return false;
  return true;
}
