/**
 * The one table of errors. It maps what went wrong to the status and code on the wire and a sentence for a person.
 *
 * Most codes come from the distribution spec ("Error Codes"). Clients know `UNAVAILABLE` ("try again") and `UNKNOWN`
 * ("a bug") from Docker's registry. Only the management API uses the last three.
 */
const ERRORS = {
  BLOB_UNKNOWN: [404, 'BLOB_UNKNOWN', 'this repository has no such blob'],
  BLOB_IN_USE: [405, 'UNSUPPORTED', 'a manifest of this repository references the blob: delete the manifest first'],
  BODY_STALLED: [408, 'SIZE_INVALID', 'the body stopped arriving: send the request again'],
  BODY_TOO_LARGE: [413, 'SIZE_INVALID', 'the body is too large for this request: send a smaller one'],
  CHUNK_OUT_OF_ORDER: [
    416,
    'BLOB_UPLOAD_INVALID',
    'the chunk does not start where the upload ends: continue at the offset that Range gives',
  ],
  CLIENT_GONE: [499, 'UNKNOWN', 'the client went away before it had sent the whole body'],
  CONTENT_RANGE_INVALID: [
    400,
    'SIZE_INVALID',
    'Content-Range must be <start>-<end>, both inclusive, and agree with the length of the body',
  ],
  DENIED: [403, 'DENIED', 'the credential does not allow this: use one with more rights'],
  DIGEST_INVALID: [
    400,
    'DIGEST_INVALID',
    'the digest is malformed, has an unsupported algorithm, or does not match the content',
  ],
  HOST_UNKNOWN: [404, 'NAME_UNKNOWN', 'no registry is served under this host name: check it for typing errors'],
  HTTPS_REQUIRED: [
    403,
    'DENIED',
    'this registry is served over https only, so that nobody on the network can read passwords: use https',
  ],
  MANIFEST_BLOB_UNKNOWN: [
    400,
    'MANIFEST_BLOB_UNKNOWN',
    'the manifest references a blob that this repository does not have: push it first',
  ],
  MANIFEST_IN_USE: [405, 'UNSUPPORTED', 'a tagged index lists the manifest: delete the index, or its tags, first'],
  MANIFEST_INVALID: [400, 'MANIFEST_INVALID', 'the manifest is invalid'],
  MANIFEST_TOO_LARGE: [413, 'SIZE_INVALID', 'the manifest is larger than 4 MiB'],
  MANIFEST_UNKNOWN: [404, 'MANIFEST_UNKNOWN', 'this repository has no such manifest or tag'],
  METHOD_UNSUPPORTED: [405, 'UNSUPPORTED', 'this method is not supported here'],
  NAME_INVALID: [400, 'NAME_INVALID', 'the repository name is invalid'],
  NAME_UNKNOWN: [404, 'NAME_UNKNOWN', 'there is no such repository'],
  PARAMETER_INVALID: [400, 'UNSUPPORTED', 'a query parameter is invalid'],
  // The spec has no code for this. Clients do not retry DENIED.
  PRECONDITION_FAILED: [
    412,
    'DENIED',
    'the stored content does not meet If-Match or If-None-Match: read it again first',
  ],
  QUOTA_EXCEEDED: [
    403,
    'DENIED',
    'this would exceed the quota of the organization: delete images, or ask for a larger quota',
  ],
  RANGE_UNSATISFIABLE: [416, 'SIZE_INVALID', 'the range lies outside the blob'],
  ROUTE_UNKNOWN: [
    404,
    'UNSUPPORTED',
    'there is nothing at this path: images are under /v2/, management under /api/, the platform API under /v1/',
  ],
  SIZE_INVALID: [400, 'SIZE_INVALID', 'the body does not have the length that the request announced'],
  TAG_INVALID: [
    400,
    'MANIFEST_INVALID',
    'a tag has 1 to 128 letters, digits, "_", "." or "-", and does not start with "." or "-"',
  ],
  TOO_MANY_CHUNKS: [413, 'SIZE_INVALID', 'the upload has too many chunks: start it again with larger ones'],
  TOO_MANY_REQUESTS: [429, 'TOOMANYREQUESTS', 'too many requests: wait, then try again'],
  TOO_MANY_TAGS: [414, 'UNSUPPORTED', 'too many tags in one request'],
  UNAUTHORIZED: [401, 'UNAUTHORIZED', 'authentication is required'],
  UNAVAILABLE: [503, 'UNAVAILABLE', 'the registry cannot answer this now: try again'],
  UNKNOWN: [500, 'UNKNOWN', 'something went wrong in the registry'],
  UPLOAD_UNKNOWN: [
    404,
    'BLOB_UPLOAD_UNKNOWN',
    'there is no such upload: it is finished, cancelled, expired, or not yours',
  ],
  CONFLICT: [409, 'CONFLICT', 'the request conflicts with the current state: read it again, then change the request'],
  FIELD_INVALID: [400, 'FIELD_INVALID', 'a field is invalid'],
  NOT_FOUND: [404, 'NOT_FOUND', 'the request names something that does not exist'],
} as const satisfies Record<string, readonly [status: number, code: string, message: string]>;

export type ErrorKind = keyof typeof ERRORS;

interface OciErrorOptions {
  /** A more specific message than the table's. */
  readonly message?: string;
  readonly detail?: Readonly<Record<string, unknown>>;
  /**
   * Each entry becomes an error of its own in the body, with the kind's code (MANIFEST_BLOB_UNKNOWN: one per digest).
   */
  readonly entries?: readonly { readonly message: string; readonly detail: Readonly<Record<string, unknown>> }[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An error from the table above. Any code may throw it; only `http/error-response.ts` writes it to the wire. */
export class OciError extends Error {
  override readonly name = 'OciError';
  readonly kind: ErrorKind;
  readonly status: (typeof ERRORS)[ErrorKind][0];
  readonly code: (typeof ERRORS)[ErrorKind][1];
  readonly detail: Readonly<Record<string, unknown>> | undefined;
  readonly entries: OciErrorOptions['entries'];
  readonly headers: Readonly<Record<string, string>>;

  constructor(kind: ErrorKind, options: OciErrorOptions = {}) {
    const [status, code, message] = ERRORS[kind];
    super(options.message ?? message, { cause: options.cause });
    this.kind = kind;
    this.status = status;
    this.code = code;
    this.detail = options.detail;
    this.entries = options.entries;
    this.headers = options.headers ?? {};
  }
}

/** Returns whether an error means that a store did not answer, rather than a refusal or a bug. */
export function isUnavailable(error: unknown): error is OciError {
  return error instanceof OciError && error.kind === 'UNAVAILABLE';
}
