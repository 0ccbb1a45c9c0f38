import type { Hono } from 'hono';
import { parseAlgorithm, parseDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { isRepositoryName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { type Body, ChunkOutOfOrder, type PresentedSession, type UploadProgress } from '../../registry/registry.ts';
import { mountSource, requireWrite } from '../access.ts';
import { bodyOf } from '../body.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { announcedLength, parseChunkStart } from '../range.ts';
import { requireBlobAsAsked } from './precondition.ts';
import { repositoryOf, routeOf } from './target.ts';

const SESSIONS = routeOf('/blobs/uploads/');
const SESSION = routeOf('/blobs/uploads/:session');

/**
 * The recommended minimum size of a chunk, in bytes. Closing an upload reads one object per chunk, and a request may
 * make 10,000 such calls. Shorter chunks are accepted too, because not every client reads the header.
 */
const CHUNK_MIN_LENGTH = 8 * 1024 ** 2;

export function uploadRoutes(v2: Hono<AppEnv>): void {
  v2.on('POST', [SESSIONS, routeOf('/blobs/uploads')], async (c) => {
    const repository = repositoryOf(c);
    const { id: subject } = requireWrite(c, 'push', repository);
    const registry = c.get('registry');
    const { mount, from, digest, 'digest-algorithm': algorithm = 'sha256' } = c.req.query();
    if (mount !== undefined) {
      const blob = parseDigest(mount, 'the parameter mount');
      await requireBlobAsAsked(c, repository, blob);
      if (
        (from === undefined || isRepositoryName(from)) &&
        (await registry.mountBlob(repository, blob, mountSource(c, from)))
      ) {
        return blobCreated(c, repository, blob);
      }
    } else if (digest !== undefined) {
      const blob = parseDigest(digest, 'the parameter digest');
      await requireBlobAsAsked(c, repository, blob);
      await registry.putBlob(repository, blob, bodyOf(c.req.raw, organizationOf(repository)));
      return blobCreated(c, repository, blob);
    }
    const progress = await registry.openUpload(repository, subject, parseAlgorithm(algorithm));
    return c.body(null, 202, progressHeaders(c, repository, progress));
  });

  v2.get(SESSION, async (c) => {
    const session = sessionOf(c);
    return c.body(null, 204, progressHeaders(c, session.repository, await c.get('registry').uploadProgress(session)));
  });

  v2.patch(SESSION, async (c) => {
    const session = sessionOf(c);
    const { body, start } = chunkOf(c);
    const progress = await withSessionRange(c, session.repository, c.get('registry').appendChunk(session, start, body));
    return c.body(null, 202, progressHeaders(c, session.repository, progress));
  });

  v2.put(SESSION, async (c) => {
    const session = sessionOf(c);
    const text = c.req.query('digest');
    if (text === undefined) throw new OciError('DIGEST_INVALID', { message: 'the parameter digest is missing' });
    const digest = parseDigest(text, 'the parameter digest');
    await requireBlobAsAsked(c, session.repository, digest);
    const { body, start } = chunkOf(c);
    await withSessionRange(c, session.repository, c.get('registry').finishUpload(session, digest, start, body));
    return blobCreated(c, session.repository, digest);
  });

  v2.delete(SESSION, async (c) => {
    await c.get('registry').cancelUpload(sessionOf(c));
    return c.body(null, 204);
  });
}

function sessionOf(c: AppContext): PresentedSession {
  const repository = repositoryOf(c);
  const { id: subject } = requireWrite(c, 'push', repository);
  return { repository, subject, reference: c.req.param('session') ?? '' };
}

function chunkOf(c: AppContext): { body: Body | undefined; start: number | undefined } {
  const header = c.req.header('Content-Range');
  const body = bodyOf(c.req.raw, organizationOf(repositoryOf(c)));
  const start = parseChunkStart(header, body?.length);
  if (body === undefined || body.length !== undefined) return { body, start };
  return { body: { ...body, announced: announcedLength(header) }, start };
}

function blobCreated(c: AppContext, repository: RepositoryName, digest: string): Response {
  c.get('logFields')['digest'] = digest;
  return c.body(null, 201, { Location: `/v2/${repository}/blobs/${digest}`, 'Docker-Content-Digest': digest });
}

/**
 * Returns the headers of an upload's progress, and of the chunks to continue it with. `Range` is `0-<end>`, inclusive
 * and without a unit; `0-0` if empty.
 */
function progressHeaders(
  c: AppContext,
  repository: RepositoryName,
  { id, reference, size }: UploadProgress,
): Record<string, string> {
  return {
    Location: `/v2/${repository}/blobs/uploads/${reference}`,
    Range: `0-${Math.max(0, size - 1)}`,
    'Docker-Upload-UUID': id,
    'OCI-Chunk-Min-Length': String(CHUNK_MIN_LENGTH),
    // Proposed in opencontainers/distribution-spec#485. Cloudflare's edge answers 413 to a body above its own limit.
    'OCI-Chunk-Max-Length': String(c.get('runtime').config.chunkMaxBytes),
  };
}

/** Adds the session's range to the error of a chunk that is out of order, so that the client can continue there. */
async function withSessionRange<T>(c: AppContext, repository: RepositoryName, taken: Promise<T>): Promise<T> {
  try {
    return await taken;
  } catch (error) {
    if (!(error instanceof ChunkOutOfOrder)) throw error;
    const headers = progressHeaders(c, repository, error.progress);
    throw new OciError('CHUNK_OUT_OF_ORDER', { detail: error.detail ?? {}, headers });
  }
}
