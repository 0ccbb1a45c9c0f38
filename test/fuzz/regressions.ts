/** Cases that a property failed with before. They run before the generated cases. */
import type { DownloadCase } from './downloads.test.ts';
import { LEAST_PART, on, type Step } from './generate/uploads.ts';
import type { ManifestCase } from './generate/manifests.ts';
import type { PathCase } from './paths.test.ts';
import type { FormCase, GrantCase, TokenCase } from './tokens.test.ts';

const plain = { encodes: false, parameters: [], headers: {} } as const;

export const PATH_REGRESSIONS: readonly PathCase[] = [
  // Was 404, as for a path that does not exist. It is 405, as for every path that does.
  { ...plain, method: 'GET', parts: ['alice/app', 'blobs', 'uploads', ''] },
  // Was an unknown path. The line break is an invalid character of the name.
  { ...plain, method: 'GET', parts: ['\nalice/0', 'manifests', 'A'] },
  // The repository's name was cut at a tag or digest that looks like a segment.
  { ...plain, method: 'GET', parts: ['alice/app', 'manifests', 'manifests'] },
  { ...plain, method: 'GET', parts: ['a', 'blobs', 'blobs'] },
];

export const DOWNLOAD_REGRESSIONS: readonly DownloadCase[] = [];

const opened: Step = { kind: 'open', user: 'alice', repository: 'alice/app', algorithm: undefined };

export const UPLOAD_REGRESSIONS: readonly (readonly Step[])[] = [
  // An empty chunk without a length was 202 for a closed session.
  [opened, on('PUT'), on('PATCH', { body: [], streamed: true })],
  [opened, on('PATCH', { body: [1] }), on('PATCH', { body: [], streamed: true, age: 1 })],
  // The last chunk, sent to an outdated URL, was told that its digest is wrong.
  [opened, on('PATCH', { body: [1] }), on('PUT', { body: [0], age: 1 })],
  // A repeated PUT must be the same request: any other is an error.
  [
    opened,
    on('PUT', { body: [0] }),
    on('PUT', { body: [], streamed: true, digest: { of: 'last', algorithm: 'sha256' } }),
  ],
  [opened, on('PUT'), on('PUT', { body: [0], digest: { of: 'last', algorithm: 'sha256' } })],
];

const chunk = (size: number): Step => on('PATCH', { range: 'right', body: { size, of: 0 } });

export const PART_REGRESSIONS: readonly (readonly Step[])[] = [
  // No part may follow a shorter one.
  [opened, chunk(LEAST_PART), chunk(LEAST_PART + 1), chunk(LEAST_PART), on('PUT')],
];

export const MANIFEST_REGRESSIONS: readonly ManifestCase[] = [
  // This one spelling of `mediaType` was not detected as wrong.
  {
    contentType: 'application/vnd.oci.image.index.v1+json',
    document: { schemaVersion: 2, manifests: [], mediatype: 'a/b' },
    encoding: 'plain',
    growth: 'none',
    reference: { tag: 'a' },
    streamed: false,
  },
  // An empty Content-Type counts as absent.
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
