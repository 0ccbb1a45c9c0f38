import type { Hono } from 'hono';
import { type Digest, parseAnyDigest } from '../../oci/digest.ts';
import { isEntityTagOf } from '../../oci/precondition.ts';
import { actor, mayPush, requireRead, requireWrite } from '../access.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { loggedPath } from '../logged-path.ts';
import { parseRange } from '../range.ts';
import { requireHolds } from '../../registry/conditional.ts';
import { isNotModified, preconditionOf } from './precondition.ts';
import { repositoryOf, routeOf } from './target.ts';

const PATH = routeOf('/blobs/:digest');

export function blobRoutes(v2: Hono<AppEnv>): void {
  v2.get(PATH, async (c) => {
    const { repository, digest } = target(c);
    const access = requireRead(c, repository);
    if (c.req.method === 'HEAD') {
      const { size } = await c.get('registry').resolveBlob(access, digest, mayPush(c, repository));
      return c.body(null, isNotModified(c, digest) ? 304 : 200, headersOf(digest, size));
    }
    const opensWhole = c.req.header('Range') === undefined && c.req.header('If-None-Match') === undefined;
    const blob = await c.get('registry').getBlob(access, digest, opensWhole);
    if (isNotModified(c, digest)) return c.body(null, 304, headersOf(digest, blob.size));
    const range = ifRangeHolds(c, digest) ? parseRange(c.req.header('Range'), blob.size) : undefined;
    const length = range?.length ?? blob.size;
    const headers = headersOf(digest, length);
    if (range !== undefined)
      headers['Content-Range'] = `bytes ${range.offset}-${range.offset + length - 1}/${blob.size}`;
    if (length === 0) return c.body(null, 200, headers);
    return c.body(await blob.open(range), range === undefined ? 200 : 206, headers);
  });

  v2.delete(PATH, async (c) => {
    const { repository, digest } = target(c);
    const caller = requireWrite(c, 'delete', repository);
    const precondition = preconditionOf(c);
    if (precondition !== undefined) {
      // No transaction is needed: a digest always has the same content, so a concurrent write cannot change the
      // outcome.
      await c.get('registry').resolveBlob({ repository, condition: 'granted' }, digest, false);
      requireHolds({ precondition }, digest);
    }
    await c.get('registry').deleteBlob(repository, digest, actor(c, caller));
    return c.body(null, 202);
  });
}

function target(c: AppContext) {
  const repository = repositoryOf(c);
  const digest = parseAnyDigest(c.req.param('digest') ?? '');
  const fields = c.get('logFields');
  fields['digest'] = loggedPath(digest);
  return { repository, digest };
}

/**
 * Returns whether the Range applies. If If-Range names other content, the client gets the whole blob (RFC 9110
 * §13.1.5).
 */
function ifRangeHolds(c: AppContext, digest: Digest): boolean {
  const header = c.req.header('If-Range');
  return header === undefined || isEntityTagOf(header, digest);
}

function headersOf(digest: Digest, length: number): Record<string, string> {
  return {
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(length),
    'Accept-Ranges': 'bytes',
    'Docker-Content-Digest': digest,
    ETag: `"${digest}"`,
    'Cache-Control': 'no-transform',
  };
}
