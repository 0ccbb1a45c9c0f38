/** Sends requests to the Worker, and checks what must hold for every answer. */
import { expect } from 'vitest';
import { call, type CallOptions } from '../../support/client.ts';

export interface Sent extends Omit<CallOptions, 'body'> {
  readonly method: string;
  readonly path: string;
  readonly body?: Uint8Array<ArrayBuffer> | undefined;
  /** Sends no Content-Length, as in chunked transfer coding. */
  readonly streamed?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The code of an error; '' for a HEAD, which has no body. */
  readonly code: string | undefined;
}

export interface OciErrors {
  readonly errors: readonly {
    readonly code: string;
    readonly message: string;
    readonly detail: Readonly<Record<string, unknown>>;
  }[];
}

/** The codes of the distribution spec, and those that Docker's registry added. */
const CODES: ReadonlySet<string> = new Set([
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DENIED',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'TOOMANYREQUESTS',
  'UNAUTHORIZED',
  'UNSUPPORTED',
]);

/** Sends a request. Fails if the answer is not valid for an OCI registry. */
export async function exchange({ method, path, body, streamed = false, ...options }: Sent): Promise<Answer> {
  const content = body === undefined ? null : streamed ? streamOf(body) : body;
  const response = await call(method, path, { ...options, body: content });
  const { status, headers } = response;
  const bytes = new Uint8Array(await response.arrayBuffer());
  const said = `${method} ${path} → ${status} ${status >= 400 ? new TextDecoder().decode(bytes) : ''}`;
  expect(status, said).toBeLessThan(500);
  expect(headers.get('X-Request-Id'), said).toBeTruthy();
  if (path.startsWith('/v2/')) expect(headers.get('Docker-Distribution-API-Version'), said).toBe('registry/2.0');
  expect(headers.has('Allow'), said).toBe(status === 405 || (method === 'OPTIONS' && status === 204));
  if (status === 401) expect(headers.get('WWW-Authenticate'), said).toMatch(/^(?:Bearer|Basic) realm="/);
  if (status < 400) return { status, headers, bytes, code: undefined };
  if (method === 'HEAD') expect(bytes.byteLength, said).toBe(0);
  return { status, headers, bytes, code: method === 'HEAD' ? '' : codeIn(bytes, headers, said) };
}

/** Returns the code of a well-formed error document (distribution-spec, "Error Codes"). */
function codeIn(bytes: Uint8Array, headers: Headers, said: string): string {
  expect(headers.get('Content-Type'), said).toMatch(/^application\/json\b/);
  const { errors, ...rest } = JSON.parse(
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
  ) as OciErrors;
  expect(rest, said).toEqual({});
  expect(errors.length, said).toBeGreaterThan(0);
  for (const { code, message, detail, ...others } of errors) {
    expect(others, said).toEqual({});
    expect(CODES, said).toContain(code);
    expect(message, said).toMatch(/\S/);
    expect(detail['requestId'], said).toBe(headers.get('X-Request-Id'));
  }
  expect(new Set(errors.map(({ code }) => code)).size, said).toBe(1);
  return errors[0]?.code ?? '';
}

function streamOf(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> {
  const { body } = new Response(bytes);
  if (body === null) throw new Error('a response of bytes has a body');
  return body.pipeThrough(new IdentityTransformStream());
}
