/** Wraps bindings to count their calls, by the classes that Cloudflare charges for. */
export interface Counts {
  /** R2 put, list, and creating, completing and uploading parts of a multipart upload. */
  classA: number;
  /** R2 get and head. */
  classB: number;
  r2Deletes: number;
  /** Round trips to D1, each a query or a batch. */
  d1: number;
  rowsRead: number;
  rowsWritten: number;
}

export function noCounts(): Counts {
  return { classA: 0, classB: 0, r2Deletes: 0, d1: 0, rowsRead: 0, rowsWritten: 0 };
}

export function resetCounts(counts: Counts): void {
  Object.assign(counts, noCounts());
}

export function countD1(database: D1Database, counts: Counts): D1Database {
  const tally = <Row>(result: D1Result<Row>): D1Result<Row> => {
    counts.rowsRead += result.meta.rows_read;
    counts.rowsWritten += result.meta.rows_written;
    return result;
  };
  const originals = new WeakMap<object, D1PreparedStatement>();
  const wrapStatement = (statement: D1PreparedStatement): D1PreparedStatement => {
    const wrapped = {
      bind: (...values: unknown[]) => wrapStatement(statement.bind(...values)),
      all: async <Row>() => {
        counts.d1++;
        return tally(await statement.all<Row>());
      },
      run: async <Row>() => {
        counts.d1++;
        return tally(await statement.run<Row>());
      },
    } as unknown as D1PreparedStatement;
    originals.set(wrapped, statement);
    return wrapped;
  };
  const counted = (session: Pick<D1Database, 'prepare' | 'batch'>) => ({
    prepare: (query: string) => wrapStatement(session.prepare(query)),
    batch: async <Row>(statements: D1PreparedStatement[]): Promise<D1Result<Row>[]> => {
      counts.d1++;
      const results = await session.batch<Row>(statements.map((statement) => originals.get(statement) ?? statement));
      return results.map(tally);
    },
  });
  return {
    ...counted(database),
    withSession: (start?: string) => counted(database.withSession(start)),
  } as D1Database;
}

export function countR2(bucket: R2Bucket, counts: Counts): R2Bucket {
  const countUpload = (upload: R2MultipartUpload) => ({
    key: upload.key,
    uploadId: upload.uploadId,
    uploadPart: (...part: Parameters<R2MultipartUpload['uploadPart']>) => {
      counts.classA++;
      return upload.uploadPart(...part);
    },
    complete: (parts: R2UploadedPart[]) => {
      counts.classA++;
      return upload.complete(parts);
    },
    abort: () => upload.abort(),
  });
  const counted = {
    put: (...args: Parameters<R2Bucket['put']>) => {
      counts.classA++;
      return bucket.put(...args);
    },
    get: (...args: Parameters<R2Bucket['get']>) => {
      counts.classB++;
      return bucket.get(...args);
    },
    head: (key: string) => {
      counts.classB++;
      return bucket.head(key);
    },
    delete: (keys: string | string[]) => {
      counts.r2Deletes++;
      return bucket.delete(keys);
    },
    list: (options?: R2ListOptions) => {
      counts.classA++;
      return bucket.list(options);
    },
    createMultipartUpload: async (...args: Parameters<R2Bucket['createMultipartUpload']>) => {
      counts.classA++;
      return countUpload(await bucket.createMultipartUpload(...args));
    },
    resumeMultipartUpload: (key: string, uploadId: string) => countUpload(bucket.resumeMultipartUpload(key, uploadId)),
  };
  return counted;
}
