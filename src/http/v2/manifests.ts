import type { Hono } from 'hono';
import { algorithmOf, digestOf } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { MAX_MANIFEST_BYTES } from '../../oci/manifest-limits.ts';
import { parseManifest } from '../../oci/manifest.ts';
import {
  organizationOf,
  parseAnyReference,
  parseReference,
  parseTag,
  type Reference,
  type Tag,
} from '../../oci/reference.ts';
import type { ManifestDescriptor, Mirrored } from '../../registry/registry.ts';
import { actor, mayPush, requireRead, requireWrite } from '../access.ts';
import { readManifestBody } from '../body.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { roomFor, textAnswer } from '../large-answer.ts';
import { loggedPath } from '../logged-path.ts';
import { isNotModified, preconditionOf } from './precondition.ts';
import { repositoryOf, routeOf } from './target.ts';

/** The most tags that one request may set. The spec demands at least 10 ("Pushing Manifests", tag parameters). */
const MAX_TAGS = 100;

/** The most characters of a reference that the log shows. A client may send anything as a reference. */
const MAX_SHOWN = 200;

const PATH = routeOf('/manifests/:reference');

export function manifestRoutes(v2: Hono<AppEnv>): void {
  v2.get(PATH, async (c) => {
    const { repository, reference } = target(c);
    const access = requireRead(c, repository);
    if (c.req.method === 'HEAD') {
      const descriptor = await c.get('registry').resolveManifest(access, reference, mayPush(c, repository));
      return c.body(null, isNotModified(c, descriptor.digest) ? 304 : 200, headersOf(descriptor));
    }
    const manifest = await c.get('registry').getManifest(access, reference, roomFor(c));
    if (isNotModified(c, manifest.digest)) return c.body(null, 304, headersOf(manifest));
    // The text was decoded from the manifest's UTF-8, so encoding it again gives the same bytes.
    return textAnswer(c, manifest.text, headersOf(manifest), manifest.size);
  });

  v2.put(PATH, async (c) => {
    const { repository, reference } = target(c, parseReference);
    const by = actor(c, requireWrite(c, 'push', repository));
    const tags = tagsOf(c, reference);
    const bytes = await readManifestBody(c, MAX_MANIFEST_BYTES, organizationOf(repository));
    const digest = await digestOf(reference.kind === 'digest' ? algorithmOf(reference.digest) : 'sha256', bytes);
    if (reference.kind === 'digest' && reference.digest !== digest) {
      throw new OciError('DIGEST_INVALID', {
        message: 'the manifest does not match the digest in the URL: push it under its own digest',
        detail: { digest: reference.digest, actual: digest },
      });
    }
    const manifest = parseManifest(bytes, c.req.header('Content-Type'));
    const precondition = preconditionOf(c);
    const condition = precondition && { reference, precondition };
    const version = await c
      .get('registry')
      .putManifest(repository, digest, manifest, bytes.byteLength, tags, by, condition);
    c.header('Location', `/v2/${repository}/manifests/${digest}`);
    c.header('Docker-Content-Digest', digest);
    // Identifies this write in later requests for its replication state (docs/replication.md, "A push to a node").
    c.header('Berth-Version', String(version));
    if (manifest.subject !== undefined) c.header('OCI-Subject', manifest.subject);
    if (reference.kind === 'digest') for (const tag of tags) c.header('OCI-Tag', tag, { append: true });
    c.get('logFields')['digest'] = digest;
    return c.body(null, 201);
  });

  v2.delete(PATH, async (c) => {
    const { repository, reference } = target(c);
    const by = actor(c, requireWrite(c, 'delete', repository));
    const precondition = preconditionOf(c);
    if (reference.kind === 'tag') await c.get('registry').deleteTag(repository, reference.tag, by, precondition);
    else await c.get('registry').deleteManifest(repository, reference.digest, by, precondition);
    return c.body(null, 202);
  });
}

function target(c: AppContext, parse = parseAnyReference) {
  const repository = repositoryOf(c);
  const reference = parse(c.req.param('reference') ?? '');
  const fields = c.get('logFields');
  fields['reference'] = loggedPath(reference.kind === 'tag' ? reference.tag : reference.digest).slice(0, MAX_SHOWN);
  return { repository, reference };
}

/** Returns the tags to set. One invalid tag refuses the whole push. @throws OciError TAG_INVALID, TOO_MANY_TAGS */
function tagsOf(c: AppContext, reference: Reference): Tag[] {
  if (reference.kind === 'tag') return [reference.tag];
  const tags = new Set((c.req.queries('tag') ?? []).map(parseTag));
  if (tags.size > MAX_TAGS) throw new OciError('TOO_MANY_TAGS', { detail: { limit: MAX_TAGS } });
  return [...tags];
}

function headersOf({ digest, mediaType, size, mirrored }: ManifestDescriptor): Record<string, string> {
  const headers = {
    'Content-Type': mediaType,
    'Content-Length': String(size),
    'Docker-Content-Digest': digest,
    ETag: `"${digest}"`,
    'Cache-Control': 'no-transform',
  };
  return mirrored === undefined ? headers : { ...headers, ...headersOfMirrored(mirrored) };
}

/** Age (RFC 9111 §5.1), and Warning, by the codes of RFC 7234 §5.5. */
function headersOfMirrored({ freshness, ageSeconds }: Mirrored): Record<string, string> {
  return {
    ...(ageSeconds === undefined ? {} : { Age: String(ageSeconds) }),
    ...(freshness === 'stale' ? { Warning: '110 - "Response is Stale"' } : {}),
    ...(freshness === 'failing' ? { Warning: '111 - "Revalidation Failed"' } : {}),
  };
}
