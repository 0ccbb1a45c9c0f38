import { describe, expect, test } from 'vitest';
import { type ErrorKind, OciError } from '../../src/oci/errors.ts';

/** distribution-spec, "Error Codes". */
const SPEC_CODES = [
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
];
/** Codes that clients know from Docker's registry, and the codes of the management API. */
const OTHER_CODES = ['UNAVAILABLE', 'UNKNOWN', 'CONFLICT', 'FIELD_INVALID', 'NOT_FOUND'];

const ON_THE_WIRE: Readonly<Record<ErrorKind, readonly [status: number, code: string]>> = {
  BLOB_IN_USE: [405, 'UNSUPPORTED'],
  BLOB_UNKNOWN: [404, 'BLOB_UNKNOWN'],
  BODY_STALLED: [408, 'SIZE_INVALID'],
  BODY_TOO_LARGE: [413, 'SIZE_INVALID'],
  CHUNK_OUT_OF_ORDER: [416, 'BLOB_UPLOAD_INVALID'],
  CLIENT_GONE: [499, 'UNKNOWN'],
  CONFLICT: [409, 'CONFLICT'],
  CONTENT_RANGE_INVALID: [400, 'SIZE_INVALID'],
  DENIED: [403, 'DENIED'],
  DIGEST_INVALID: [400, 'DIGEST_INVALID'],
  FIELD_INVALID: [400, 'FIELD_INVALID'],
  HOST_UNKNOWN: [404, 'NAME_UNKNOWN'],
  MANIFEST_BLOB_UNKNOWN: [400, 'MANIFEST_BLOB_UNKNOWN'],
  MANIFEST_IN_USE: [405, 'UNSUPPORTED'],
  MANIFEST_INVALID: [400, 'MANIFEST_INVALID'],
  MANIFEST_TOO_LARGE: [413, 'SIZE_INVALID'],
  MANIFEST_UNKNOWN: [404, 'MANIFEST_UNKNOWN'],
  METHOD_UNSUPPORTED: [405, 'UNSUPPORTED'],
  NAME_INVALID: [400, 'NAME_INVALID'],
  NAME_UNKNOWN: [404, 'NAME_UNKNOWN'],
  NOT_FOUND: [404, 'NOT_FOUND'],
  PARAMETER_INVALID: [400, 'UNSUPPORTED'],
  PRECONDITION_FAILED: [412, 'DENIED'],
  HTTPS_REQUIRED: [403, 'DENIED'],
  QUOTA_EXCEEDED: [403, 'DENIED'],
  RANGE_UNSATISFIABLE: [416, 'SIZE_INVALID'],
  ROUTE_UNKNOWN: [404, 'UNSUPPORTED'],
  SIZE_INVALID: [400, 'SIZE_INVALID'],
  TAG_INVALID: [400, 'MANIFEST_INVALID'],
  TOO_MANY_CHUNKS: [413, 'SIZE_INVALID'],
  TOO_MANY_REQUESTS: [429, 'TOOMANYREQUESTS'],
  TOO_MANY_TAGS: [414, 'UNSUPPORTED'],
  UNAUTHORIZED: [401, 'UNAUTHORIZED'],
  UNAVAILABLE: [503, 'UNAVAILABLE'],
  UNKNOWN: [500, 'UNKNOWN'],
  UPLOAD_UNKNOWN: [404, 'BLOB_UPLOAD_UNKNOWN'],
};

const KINDS = Object.keys(ON_THE_WIRE) as ErrorKind[];

describe('OciError', () => {
  test.each(KINDS)('%s has its status and code, and a sentence for people', (kind) => {
    const error = new OciError(kind);
    expect([error.status, error.code]).toEqual(ON_THE_WIRE[kind]);
    expect(error.kind).toBe(kind);
    expect(error.message).toMatch(/^[A-Za-z].* .*[^.]$/);
  });

  test('uses the codes of the specification, and few others', () => {
    expect([...SPEC_CODES, ...OTHER_CODES]).toEqual(
      expect.arrayContaining(KINDS.map((kind) => new OciError(kind).code)),
    );
  });

  test('accepts a more specific message, under the same status and code', () => {
    const error = new OciError('NAME_INVALID', { message: 'the name is too long' });
    expect(error.message).toBe('the name is too long');
    expect([error.status, error.code]).toEqual([400, 'NAME_INVALID']);
  });

  test('carries detail, entries, headers and cause', () => {
    const options = {
      detail: { digest: 'x' },
      entries: [{ message: 'missing', detail: { digest: 'x' } }],
      headers: { 'Retry-After': '2' },
      cause: new TypeError('the reason'),
    };
    expect(new OciError('MANIFEST_BLOB_UNKNOWN', options)).toMatchObject(options);
  });

  test('has no detail, no entries and no headers by default', () => {
    const { detail, entries, headers } = new OciError('UNKNOWN');
    expect({ detail, entries, headers }).toEqual({ detail: undefined, entries: undefined, headers: {} });
  });

  test('is an Error with its own name', () => {
    expect(new OciError('UNKNOWN')).toBeInstanceOf(Error);
    expect(new OciError('UNKNOWN').name).toBe('OciError');
  });
});
