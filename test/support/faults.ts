/**
 * Wraps bindings to fail as a plan says: before a call takes effect, after it (the answer is lost), late, never, or in
 * the middle of an object's body. It wraps every `DB_<STORE>` and `BLOBS_<STORE>` of any Worker's environment.
 */
import { stalledCall } from './stalled-calls.ts';

/** Kinds of calls: D1's, then R2's. */
export type CallKind = 'query' | 'batch' | R2CallKind;
type R2CallKind =
  | 'get'
  | 'head'
  | 'put'
  | 'delete'
  | 'list'
  | 'createMultipartUpload'
  | 'uploadPart'
  | 'completeMultipartUpload'
  | 'abort';

export interface Call {
  /** The store's part of the binding's name, in lower case: `central`. */
  readonly store: string;
  readonly kind: CallKind;
  /** The number of calls of this kind that the store had before this one. */
  readonly index: number;
  /** The keys of a call to R2; empty for D1. */
  readonly keys: readonly string[];
  /** Whether the call sends a stream. Its deadline then starts when the stream ends. */
  readonly streams: boolean;
}

/**
 * - `before`: the call fails without effect.
 * - `after`: the call takes effect, then fails.
 * - `stall`: the call never answers and has no effect. Its deadline passes at once (stalled-calls.ts).
 * - `stall after`: the call takes effect, but never answers.
 * - `delay`: the call takes effect after this number of milliseconds.
 * - `until`: the call takes effect once this promise resolves, and fails if it rejects.
 * - `breakAt`: the body of a get breaks off after this part of it, from 0 to 1. Any other call succeeds.
 */
export type Fault =
  | 'ok'
  | 'before'
  | 'after'
  | 'stall'
  | 'stall after'
  | { readonly delay: number }
  | { readonly until: Promise<unknown> }
  | { readonly breakAt: number };

/** Decides the fault of each call when it is made. */
export type Plan = (call: Call) => Fault;

/** Returns a plan that delays every call. */
export function delayed(milliseconds: number): Plan {
  return () => ({ delay: milliseconds });
}

/** Returns the environment with its stores' bindings failing by the plan. Other bindings stay. */
export function faulty<Bindings extends object>(bindings: Bindings, plan: Plan): Bindings {
  const wrapped = Object.entries(bindings).map(([name, binding]: [string, unknown]): [string, unknown] => {
    const [, kind, suffix = ''] = /^(DB|BLOBS)_(.+)$/.exec(name) ?? [];
    const store = suffix.toLowerCase().replaceAll('_', '-');
    if (kind === 'DB') return [name, faultyD1(binding as D1Database, store, plan)];
    return [name, kind === 'BLOBS' ? faultyR2(binding as R2Bucket, store, plan) : binding];
  });
  return Object.fromEntries(wrapped) as Bindings;
}

/** Makes the calls of one binding, each as the plan says. */
class Caller {
  readonly #store: string;
  readonly #plan: Plan;
  readonly #message: string;
  readonly #counts = new Map<CallKind, number>();

  constructor(store: string, plan: Plan, message: string) {
    this.#store = store;
    this.#plan = plan;
    this.#message = message;
  }

  async call<Result>(
    kind: CallKind,
    keys: readonly string[],
    apply: () => Promise<Result>,
    streams = false,
  ): Promise<Result> {
    return (await this.breakable(kind, keys, apply, async () => undefined, streams)).result;
  }

  /**
   * Like `call`, but also returns where a body breaks off.
   * @param ignored disposes of a result that nobody receives
   */
  async breakable<Result>(
    kind: CallKind,
    keys: readonly string[],
    apply: () => Promise<Result>,
    ignored: (result: Result) => Promise<unknown>,
    streams = false,
  ): Promise<{ result: Result; breakAt: number | undefined }> {
    const index = this.#counts.get(kind) ?? 0;
    this.#counts.set(kind, index + 1);
    const fault = this.#plan({ store: this.#store, kind, index, keys, streams });
    if (fault === 'before') throw new Error(this.#message);
    if (fault === 'stall') return stalledCall();
    if (fault === 'stall after') return stalledCall(apply().then(ignored));
    if (typeof fault === 'object' && 'delay' in fault) await new Promise((done) => setTimeout(done, fault.delay));
    if (typeof fault === 'object' && 'until' in fault) await fault.until;
    const result = await apply();
    if (fault === 'after') {
      await ignored(result);
      throw new Error(this.#message);
    }
    return { result, breakAt: typeof fault === 'object' && 'breakAt' in fault ? fault.breakAt : undefined };
  }
}

/** Wraps a database as {@link faulty} does. */
export function faultyD1(database: D1Database, store: string, plan: Plan): D1Database {
  const caller = new Caller(store, plan, 'D1_ERROR: Network connection lost.');
  const originals = new WeakMap<object, D1PreparedStatement>();
  const statementOf = (statement: D1PreparedStatement): D1PreparedStatement => {
    const query = <Result>(apply: () => Promise<Result>) => caller.call('query', [], apply);
    const wrapped = {
      bind: (...values: unknown[]) => statementOf(statement.bind(...values)),
      all: () => query(() => statement.all()),
      run: () => query(() => statement.run()),
      first: (column?: string) => query(() => (column === undefined ? statement.first() : statement.first(column))),
      raw: (options?: { columnNames?: false }) => query(() => statement.raw(options)),
    } as unknown as D1PreparedStatement;
    originals.set(wrapped, statement);
    return wrapped;
  };
  const sessionOf = (session: Pick<D1Database, 'prepare' | 'batch'>) => ({
    prepare: (query: string) => statementOf(session.prepare(query)),
    batch: (statements: D1PreparedStatement[]) =>
      caller.call('batch', [], () =>
        session.batch(statements.map((statement) => originals.get(statement) ?? statement)),
      ),
  });
  return {
    ...sessionOf(database),
    exec: (query: string) => caller.call('query', [], () => database.exec(query)),
    withSession: (start?: string) => {
      const session = database.withSession(start);
      return { ...sessionOf(session), getBookmark: () => session.getBookmark() };
    },
  } as unknown as D1Database;
}

/** Wraps a bucket as {@link faulty} does. */
export function faultyR2(bucket: R2Bucket, store: string, plan: Plan): R2Bucket {
  const caller = new Caller(store, plan, 'internal error: please try again (10001)');
  const uploadOf = (upload: R2MultipartUpload) => ({
    key: upload.key,
    uploadId: upload.uploadId,
    uploadPart: (...args: Parameters<R2MultipartUpload['uploadPart']>) =>
      caller.call('uploadPart', [upload.key], () => upload.uploadPart(...args), args[1] instanceof ReadableStream),
    complete: (parts: R2UploadedPart[]) =>
      caller.call('completeMultipartUpload', [upload.key], () => upload.complete(parts)),
    abort: () => caller.call('abort', [upload.key], () => upload.abort()),
  });
  const faultyBucket = {
    get: async (key: string, options?: R2GetOptions) => {
      const { result, breakAt } = await caller.breakable(
        'get',
        [key],
        () => bucket.get(key, options),
        async (object) => object?.body.cancel(),
      );
      return result === null || breakAt === undefined ? result : brokenObject(result, breakAt);
    },
    head: (key: string) => caller.call('head', [key], () => bucket.head(key)),
    put: (key: string, ...rest: [value: ReadableStream | ArrayBufferView, options?: R2PutOptions]) =>
      caller.call('put', [key], () => bucket.put(key, ...rest), rest[0] instanceof ReadableStream),
    delete: (keys: string | string[]) => caller.call('delete', [keys].flat(), () => bucket.delete(keys)),
    list: (options?: R2ListOptions) => caller.call('list', [], () => bucket.list(options)),
    createMultipartUpload: async (key: string, options?: R2MultipartOptions) =>
      uploadOf(await caller.call('createMultipartUpload', [key], () => bucket.createMultipartUpload(key, options))),
    resumeMultipartUpload: (key: string, id: string) => uploadOf(bucket.resumeMultipartUpload(key, id)),
  };
  return faultyBucket;
}

/** Returns an object whose body breaks off after the part `breakAt`. */
function brokenObject(object: R2ObjectBody, breakAt: number): R2ObjectBody {
  const length =
    object.range !== undefined && 'length' in object.range ? (object.range.length ?? object.size) : object.size;
  const body = broken(object.body, Math.floor(Math.min(length, object.size) * breakAt));
  const response = new Response(body);
  const replaced: Record<string, unknown> = {
    body,
    arrayBuffer: () => response.arrayBuffer(),
    text: () => response.text(),
    json: () => response.json(),
    blob: () => response.blob(),
    bytes: () => response.bytes(),
  };
  return new Proxy(object, {
    get: (target, name) => {
      if (typeof name === 'string' && name in replaced) return replaced[name];
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
}

function broken(body: ReadableStream<Uint8Array>, bytes: number): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let left = bytes;
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const piece = left > 0 ? await reader.read() : undefined;
      if (piece?.value === undefined) {
        await reader.cancel();
        controller.error(new Error('Network connection lost.'));
        return;
      }
      controller.enqueue(piece.value.subarray(0, left));
      left -= Math.min(left, piece.value.byteLength);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
