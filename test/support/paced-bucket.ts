/**
 * Gives each connection to a bucket a bandwidth of its own. A timer decides how long a transfer takes, so several
 * transfers at once take no longer than one, as in R2. In the simulator, they would share one thread.
 */

export interface Pace {
  /** Returns the milliseconds that a connection needs for the given number of bytes; 0 to leave it alone. */
  readonly ofBytes: (bytes: number) => number;
  /** Milliseconds. */
  readonly now: () => number;
  /** Does work that takes real time, such as a call to the simulator. */
  readonly real: <Result>(work: () => Promise<Result>) => Promise<Result>;
}

/** Wraps a bucket. It paces whole puts, parts, and bodies that are read. */
export function pacedR2(bucket: R2Bucket, pace: Pace): R2Bucket {
  const sent = async <Result>(bytes: (result: Result) => number, work: () => Promise<Result>): Promise<Result> => {
    const start = pace.now();
    const result = await work();
    await until(pace, start + pace.ofBytes(bytes(result)));
    return result;
  };
  const wrapUpload = (upload: R2MultipartUpload) => ({
    key: upload.key,
    uploadId: upload.uploadId,
    uploadPart: (...part: Parameters<R2MultipartUpload['uploadPart']>) =>
      sent(
        () => (ArrayBuffer.isView(part[1]) ? part[1].byteLength : 0),
        () => upload.uploadPart(...part),
      ),
    complete: (parts: R2UploadedPart[]) => upload.complete(parts),
    abort: () => upload.abort(),
  });
  const paced = {
    put: (...args: Parameters<R2Bucket['put']>) =>
      sent(
        (stored) => stored?.size ?? 0,
        () => bucket.put(...args),
      ),
    get: async (key: string, options: R2GetOptions = {}) => {
      const object = await bucket.get(key, options);
      if (object === null || !('body' in object)) return object;
      const { range } = options;
      const bytes = range !== undefined && 'length' in range ? (range.length ?? object.size) : object.size;
      const milliseconds = pace.ofBytes(bytes);
      if (milliseconds === 0) return object;
      const end = pace.now() + milliseconds;
      return { key, etag: object.etag, size: object.size, body: pacedBody(object.body, bytes, end, pace) };
    },
    head: (key: string) => bucket.head(key),
    delete: (keys: string | string[]) => bucket.delete(keys),
    list: (options?: R2ListOptions) => bucket.list(options),
    createMultipartUpload: async (key: string) => wrapUpload(await bucket.createMultipartUpload(key)),
    resumeMultipartUpload: (key: string, id: string) => wrapUpload(bucket.resumeMultipartUpload(key, id)),
  };
  return paced as unknown as R2Bucket;
}

/** @param end milliseconds, by the clock of the pace */
async function until(pace: Pace, end: number): Promise<void> {
  const left = end - pace.now();
  if (left > 0) await new Promise((done) => setTimeout(done, left));
}

/** Passes a body on, and holds its last piece back until `end`. */
function pacedBody(
  body: ReadableStream<Uint8Array>,
  bytes: number,
  end: number,
  pace: Pace,
): ReadableStream<Uint8Array> {
  const { readable, writable } = new FixedLengthStream(bytes);
  const [reader, writer] = [body.getReader(), writable.getWriter()];
  const pass = async (): Promise<void> => {
    let held: Uint8Array | undefined;
    for (;;) {
      const { done, value } = await pace.real(() => reader.read());
      if (done) break;
      if (held !== undefined) await writer.write(held);
      held = value;
    }
    await until(pace, end);
    if (held !== undefined) await writer.write(held);
    await writer.close();
  };
  pass().catch((error: unknown) => {
    // The reader went away, or the object could not be read.
    void reader.cancel(error).catch(() => undefined);
    void writer.abort(error).catch(() => undefined);
  });
  return readable;
}
