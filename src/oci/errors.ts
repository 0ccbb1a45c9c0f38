/**
 * The one table of errors: what went wrong → the code and status on the wire, and a sentence for a person.
 *
 * Codes are those of the distribution spec ("Error Codes"); `UNAVAILABLE` and `UNKNOWN` are the ones that clients know
 * from Docker's registry for "try again" and "a bug". The last three are of the management API alone.
 */
const ERRORS = {
  BLOB_UNKNOWN: [404, 'BLOB_UNKNOWN', 'this repository has no such blob'],
  BLOB_IN_USE: [405, 'UNSUPPORTED', 'a manifest of this repository references the blob: delete the manifest first'],
  BODY_STALLED: [408, 'SIZE_INVALID', 'the body stopped arriving: send the request again'],
  BODY_TOO_LARGE: [413, 'SIZE_INVALID', 'the body is larger than this takes'],
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
  DENIED: [403, 'DENIED', 'the credential does not allow this'],
  DIGEST_INVALID: [
    400,
    'DIGEST_INVALID',
    'the digest is malformed, of an unsupported algorithm, or not that of the content',
  ],
  HOST_UNKNOWN: [404, 'NAME_UNKNOWN', 'no registry is served under this host name: check it for typing errors'],
  HTTPS_REQUIRED: [
    403,
    'DENIED',
    'this registry is served over https alone, so that nobody on the way can read passwords',
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
  // The spec has no code for it. Clients do not try DENIED again.
  PRECONDITION_FAILED: [412, 'DENIED', 'If-Match or If-None-Match does not agree with what is there'],
  QUOTA_EXCEEDED: [
    403,
    'DENIED',
    'this would exceed the quota of the organization: delete images, or ask for a larger quota',
  ],
  RANGE_UNSATISFIABLE: [416, 'SIZE_INVALID', 'the range lies outside of the blob'],
  ROUTE_UNKNOWN: [
    404,
    'UNSUPPORTED',
    'there is nothing at this path: images are under /v2/, management under /api/, the platform API under /v1/',
  ],
  SIZE_INVALID: [400, 'SIZE_INVALID', 'the length of the body is not what was announced'],
  TAG_INVALID: [
    400,
    'MANIFEST_INVALID',
    'a tag is 1 to 128 letters, digits, "_", "." or "-", and starts with none of the last two',
  ],
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
  CONFLICT: [409, 'CONFLICT', 'this contradicts what is there'],
  FIELD_INVALID: [400, 'FIELD_INVALID', 'a field is invalid'],
  NOT_FOUND: [404, 'NOT_FOUND', 'there is no such thing'],
} as const satisfies Record<string, readonly [status: number, code: string, message: string]>;

export type ErrorKind = keyof typeof ERRORS;

export interface OciErrorOptions {
  /** Replaces the table's message where more can be said. */
  readonly message?: string;
  readonly detail?: Readonly<Record<string, unknown>>;
  /** One error per entry in the body, each with the kind's code (MANIFEST_BLOB_UNKNOWN: one per digest). */
  readonly entries?: readonly { readonly message: string; readonly detail: Readonly<Record<string, unknown>> }[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/**
 * An error with a place in the table above. Thrown anywhere; written to the wire in one place
 * (`http/error-response.ts`).
 */
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

/** Whether a failure means that a store did not answer, as against a refusal or a mistake of ours. */
export function isUnavailable(error: unknown): error is OciError {
  return error instanceof OciError && error.kind === 'UNAVAILABLE';
}
