/** Every route of the OCI API, with the right that it needs, and its answer to a caller with that right. */
import { bytesOf } from '../../support/fixture.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { SOURCES, type Target } from './repositories.ts';
import type { World } from './world.ts';

export interface Route {
  readonly name: string;
  readonly method: string;
  /** `login`: any credential. `catalog`: that, and the scope of the catalog. */
  readonly needs: 'pull' | 'push' | 'delete' | 'login' | 'catalog';
  /** Whether the path names an upload session. */
  readonly inSession?: true;
  /** Whether a node keeps a row that the request reads from another store. */
  readonly isKept?: true;
  /** Returns the path after the repository; for `login` and `catalog` the whole path. */
  path(world: World, session: string): string;
  readonly body?: (world: World) => { readonly type: string; readonly content: Uint8Array<ArrayBuffer> };
  readonly answers: Readonly<Record<Target['state'], Answer>>;
  /** The repository to mount a blob from; '' means any that the caller can pull from. */
  readonly mounts?: { readonly blob: keyof typeof SOURCES; readonly from: keyof typeof SOURCES | '' };
}

export type Answer = readonly [status: number, code?: string];

const CHUNK = bytesOf(21, 40);
const CHUNK_DIGEST = await digestOf('sha256', CHUNK);

const chunk = () => ({ type: 'application/octet-stream', content: CHUNK });
const index = ({ pushed }: World) => ({ type: pushed.manifest.mediaType, content: pushed.bytes });

const always = (...answer: Answer) => ({ whole: answer, empty: answer, absent: answer });
const found = (status: number, code: string) => ({ whole: [status], empty: [404, code], absent: [404, code] }) as const;
const manifest = (status: number) =>
  ({ whole: [status], empty: [404, 'MANIFEST_UNKNOWN'], absent: [404, 'NAME_UNKNOWN'] }) as const;

const SESSION = found(204, 'BLOB_UPLOAD_UNKNOWN');

const mount = (blob: keyof typeof SOURCES, from: keyof typeof SOURCES | ''): Route => ({
  name: `POST upload, mounting a blob of ${blob} from ${from === '' ? 'anywhere' : from}`,
  method: 'POST',
  needs: 'push',
  path: ({ mountable }) => `blobs/uploads/?mount=${mountable[blob]}${from === '' ? '' : `&from=${SOURCES[from]}`}`,
  // Without a right to the source, this opens an ordinary upload: see `rule.ts`.
  answers: always(201),
  mounts: { blob, from },
});

export const ROUTES: readonly Route[] = [
  { name: 'GET base', method: 'GET', needs: 'login', path: () => '/v2/', answers: always(200) },
  { name: 'GET base without a slash', method: 'GET', needs: 'login', path: () => '/v2', answers: always(200) },
  { name: 'GET catalog', method: 'GET', needs: 'catalog', path: () => '/v2/_catalog', answers: always(200) },
  ...(['GET', 'HEAD'] as const).flatMap((method): Route[] => [
    {
      name: `${method} manifest by tag`,
      method,
      needs: 'pull',
      isKept: true,
      path: () => 'manifests/latest',
      answers: manifest(200),
    },
    {
      name: `${method} manifest by digest`,
      method,
      needs: 'pull',
      ...(method === 'GET' && { isKept: true }),
      path: ({ image }) => `manifests/${image.digest}`,
      answers: manifest(200),
    },
    {
      name: `${method} blob`,
      method,
      needs: 'pull',
      path: ({ blob }) => `blobs/${blob}`,
      answers: found(200, 'BLOB_UNKNOWN'),
    },
  ]),
  {
    name: 'GET tags',
    method: 'GET',
    needs: 'pull',
    path: () => 'tags/list',
    answers: { whole: [200], empty: [200], absent: [404, 'NAME_UNKNOWN'] },
  },
  {
    name: 'GET referrers',
    method: 'GET',
    needs: 'pull',
    path: ({ image }) => `referrers/${image.digest}`,
    answers: always(200),
  },
  {
    name: 'PUT manifest by tag',
    method: 'PUT',
    needs: 'push',
    path: () => 'manifests/latest',
    body: index,
    answers: always(201),
  },
  {
    name: 'PUT manifest by digest',
    method: 'PUT',
    needs: 'push',
    path: ({ pushed }) => `manifests/${pushed.digest}`,
    body: index,
    answers: always(201),
  },
  {
    name: 'PUT manifest by digest with tags',
    method: 'PUT',
    needs: 'push',
    path: ({ pushed }) => `manifests/${pushed.digest}?tag=latest&tag=other`,
    body: index,
    answers: always(201),
  },
  { name: 'POST upload', method: 'POST', needs: 'push', path: () => 'blobs/uploads/', answers: always(202) },
  {
    name: 'POST upload without a slash',
    method: 'POST',
    needs: 'push',
    path: () => 'blobs/uploads',
    answers: always(202),
  },
  {
    name: 'POST upload with the blob',
    method: 'POST',
    needs: 'push',
    path: () => `blobs/uploads/?digest=${CHUNK_DIGEST}`,
    body: chunk,
    answers: always(201),
  },
  mount('own', 'own'),
  mount('own', ''),
  mount('foreign', 'foreign'),
  mount('foreign', ''),
  mount('foreign', 'own'),
  mount('public', 'public'),
  mount('public', ''),
  {
    name: 'GET upload',
    method: 'GET',
    needs: 'push',
    inSession: true,
    path: (_, session) => `blobs/uploads/${session}`,
    answers: SESSION,
  },
  {
    name: 'PATCH upload',
    method: 'PATCH',
    needs: 'push',
    inSession: true,
    path: (_, session) => `blobs/uploads/${session}`,
    body: chunk,
    answers: found(202, 'BLOB_UPLOAD_UNKNOWN'),
  },
  {
    name: 'PUT upload',
    method: 'PUT',
    needs: 'push',
    inSession: true,
    path: (_, session) => `blobs/uploads/${session}?digest=${CHUNK_DIGEST}`,
    body: chunk,
    answers: found(201, 'BLOB_UPLOAD_UNKNOWN'),
  },
  {
    name: 'DELETE upload',
    method: 'DELETE',
    needs: 'push',
    inSession: true,
    path: (_, session) => `blobs/uploads/${session}`,
    answers: SESSION,
  },
  {
    name: 'DELETE tag',
    method: 'DELETE',
    needs: 'delete',
    path: () => 'manifests/latest',
    answers: manifest(202),
  },
  {
    name: 'DELETE manifest',
    method: 'DELETE',
    needs: 'delete',
    path: ({ image }) => `manifests/${image.digest}`,
    answers: manifest(202),
  },
  {
    name: 'DELETE blob',
    method: 'DELETE',
    needs: 'delete',
    path: ({ blob }) => `blobs/${blob}`,
    answers: found(202, 'BLOB_UNKNOWN'),
  },
];
