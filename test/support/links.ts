/** Wraps bindings so that every call passes a gate, where a test can delay it, make it fail, or count it. */

/** Makes one call, or not. `call` is the name of the binding's method, such as `batch` or `put`. */
export type Gate = <Result>(call: string, work: () => Promise<Result>) => Promise<Result>;

export const OPEN: Gate = (_call, work) => work();

/** @param gateOfSessions the gate of calls in a session, which may go to a replica */
export function gateD1(database: D1Database, gate: Gate, gateOfSessions = gate): D1Database {
  const originals = new WeakMap<object, D1PreparedStatement>();
  const wrap = (statement: D1PreparedStatement, by: Gate): D1PreparedStatement => {
    const wrapped = {
      bind: (...values: unknown[]) => wrap(statement.bind(...values), by),
      all: <Row>() => by('all', () => statement.all<Row>()),
      run: <Row>() => by('run', () => statement.run<Row>()),
    } as unknown as D1PreparedStatement;
    originals.set(wrapped, statement);
    return wrapped;
  };
  const gated = (session: Pick<D1Database, 'prepare' | 'batch'>, by: Gate) => ({
    prepare: (query: string) => wrap(session.prepare(query), by),
    batch: <Row>(statements: D1PreparedStatement[]) =>
      by('batch', () => session.batch<Row>(statements.map((statement) => originals.get(statement) ?? statement))),
  });
  return {
    ...gated(database, gate),
    withSession: (start?: string) => gated(database.withSession(start), gateOfSessions),
  } as D1Database;
}

/** D1's limit for the characters of a parameter. The local D1 takes longer ones. */
const PARAMETER_CHARACTERS = 2_000_000;

/** Wraps a database to refuse parameters that D1 would refuse. */
export function limitedD1(database: D1Database): D1Database {
  const prepare = (query: string) => ({
    bind(...values: unknown[]) {
      const isTooLong = values.some((value) => typeof value === 'string' && value.length > PARAMETER_CHARACTERS);
      if (isTooLong) throw new Error('D1_ERROR: string or blob too big: SQLITE_TOOBIG');
      return database.prepare(query).bind(...values);
    },
  });
  const limited = { prepare, batch: (statements: D1PreparedStatement[]) => database.batch(statements) };
  return limited as unknown as D1Database;
}

export function gateR2(bucket: R2Bucket, gate: Gate): R2Bucket {
  const wrapUpload = (upload: R2MultipartUpload) => ({
    key: upload.key,
    uploadId: upload.uploadId,
    uploadPart: (...part: Parameters<R2MultipartUpload['uploadPart']>) =>
      gate('uploadPart', () => upload.uploadPart(...part)),
    complete: (parts: R2UploadedPart[]) => gate('complete', () => upload.complete(parts)),
    abort: () => gate('abort', () => upload.abort()),
  });
  const gated = {
    put: (...args: Parameters<R2Bucket['put']>) => gate('put', () => bucket.put(...args)),
    get: (...args: Parameters<R2Bucket['get']>) => gate('get', () => bucket.get(...args)),
    head: (key: string) => gate('head', () => bucket.head(key)),
    delete: (keys: string | string[]) => gate('delete', () => bucket.delete(keys)),
    list: (options?: R2ListOptions) => gate('list', () => bucket.list(options)),
    createMultipartUpload: (key: string) =>
      gate('createMultipartUpload', async () => wrapUpload(await bucket.createMultipartUpload(key))),
    resumeMultipartUpload: (key: string, id: string) => wrapUpload(bucket.resumeMultipartUpload(key, id)),
  };
  return gated;
}
