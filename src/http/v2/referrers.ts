import type { Hono } from 'hono';
import { parseAnyDigest } from '../../oci/digest.ts';
import { OCI_IMAGE_INDEX } from '../../oci/media-type.ts';
import { nameProblem } from '../../oci/reference.ts';
import type { Page, Referrer } from '../../registry/registry.ts';
import { requireRead } from '../access.ts';
import type { AppEnv } from '../context.ts';
import { roomFor, textAnswer } from '../large-answer.ts';
import { linkToNext, pageRequest } from './pagination.ts';
import { repositoryOf, routeOf } from './target.ts';

/** The most referrers on a page. Few, because their annotations are read from the bytes of each manifest. */
const MAX_REFERRERS = 100;

export function referrerRoutes(v2: Hono<AppEnv>): void {
  v2.get(routeOf('/referrers/:digest'), async (c) => {
    const name = c.req.param('name') ?? '';
    const subject = parseAnyDigest(c.req.param('digest') ?? '');
    const artifactType = c.req.query('artifactType');
    const request = pageRequest(c, MAX_REFERRERS);
    // The spec forbids 404 (distribution-spec, "Listing Referrers"), even for a name that no repository can have.
    const page: Page<Referrer> =
      nameProblem(name)?.kind === 'NAME_UNKNOWN'
        ? { items: [], last: undefined }
        : await c
            .get('registry')
            .listReferrers(requireRead(c, repositoryOf(c)), subject, artifactType, request, roomFor(c));
    const manifests = page.items.map(({ mediaType, size, digest, artifactType: type, annotations }) => ({
      mediaType,
      size,
      digest,
      ...(type === '' ? {} : { artifactType: type }),
      ...(annotations === undefined ? {} : { annotations }),
    }));
    const headers = linkToNext(c, `/v2/${name}/referrers/${subject}`, page, request);
    if (artifactType !== undefined) headers['OCI-Filters-Applied'] = 'artifactType';
    const index = { schemaVersion: 2, mediaType: OCI_IMAGE_INDEX, manifests };
    const all = { ...headers, 'Content-Type': OCI_IMAGE_INDEX, 'Cache-Control': 'no-transform' };
    return textAnswer(c, JSON.stringify(index), all);
  });
}
