/** Cases that a property has failed with: each runs before the generated ones, for ever. */
import type { DownloadCase } from './downloads.test.ts';
import type { Step } from './generate/uploads.ts';
import type { ManifestCase } from './generate/manifests.ts';
import type { PathCase } from './paths.test.ts';
import type { FormCase, GrantCase, TokenCase } from './tokens.test.ts';

const plain = { encodes: false, parameters: [], headers: {} } as const;

export const PATH_REGRESSIONS: readonly PathCase[] = [
  // 405, as for every path that exists: it was 404, for a path that does not.
  { ...plain, method: 'GET', parts: ['alice/app', 'blobs', 'uploads', ''] },
  // A line break is no part of a name: the path was unknown.
  { ...plain, method: 'GET', parts: ['\nalice/0', 'manifests', 'A'] },
  // What a tag or a digest is called is no part of the path before it.
  { ...plain, method: 'GET', parts: ['alice/app', 'manifests', 'manifests'] },
  { ...plain, method: 'GET', parts: ['a', 'blobs', 'blobs'] },
];

export const DOWNLOAD_REGRESSIONS: readonly DownloadCase[] = [];

const opened: Step = { kind: 'open', user: 'alice', repository: 'alice/app', algorithm: undefined };

function on(method: 'GET' | 'PATCH' | 'PUT' | 'DELETE', step: Partial<Extract<Step, { kind: 'session' }>> = {}): Step {
  return {
    kind: 'session',
    session: 0,
    age: 0,
    tampering: 'none',
    range: 'none',
    body: undefined,
    streamed: false,
    digest: { of: 'all', algorithm: 'sha256' },
    length: undefined,
    method,
    ...step,
  };
}

export const UPLOAD_REGRESSIONS: readonly (readonly Step[])[] = [
  // A chunk of nothing, without a length, was 202 for a session that had ended.
  [opened, on('PUT'), on('PATCH', { body: [], streamed: true })],
  [opened, on('PATCH', { body: [1] }), on('PATCH', { body: [], streamed: true, age: 1 })],
  // The end of the blob, sent to a URL from before its beginning, was told that its digest is wrong.
  [opened, on('PATCH', { body: [1] }), on('PUT', { body: [0], age: 1 })],
  // Who closes once more sends what was sent before, or is asking for something else.
  [
    opened,
    on('PUT', { body: [0] }),
    on('PUT', { body: [], streamed: true, digest: { of: 'last', algorithm: 'sha256' } }),
  ],
  [opened, on('PUT'), on('PUT', { body: [0], digest: { of: 'last', algorithm: 'sha256' } })],
];

export const MANIFEST_REGRESSIONS: readonly ManifestCase[] = [
  // The one spelling of `mediaType` that was not taken for another.
  {
    contentType: 'application/vnd.oci.image.index.v1+json',
    document: { schemaVersion: 2, manifests: [], mediatype: 'a/b' },
    encoding: 'plain',
    growth: 'none',
    reference: { tag: 'a' },
    streamed: false,
  },
  // An empty Content-Type is none.
  {
    contentType: '',
    document: { mediaType: 'application/vnd.oci.image.index.v1+json', schemaVersion: 2, manifests: [] },
    encoding: 'plain',
    growth: 'none',
    reference: { tag: 'a' },
    streamed: false,
  },
];

export const GRANT_REGRESSIONS: readonly GrantCase[] = [];

export const FORM_REGRESSIONS: readonly FormCase[] = [];

export const TOKEN_REGRESSIONS: readonly TokenCase[] = [];
