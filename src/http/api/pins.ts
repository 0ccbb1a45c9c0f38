/** Pins: an image that an administrator has pinned to a node is never evicted there. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { type Pin, Pins } from '../../maintenance/eviction/pins.ts';
import { parseReference, parseRepositoryName, type Reference, type RepositoryName } from '../../oci/reference.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { callerAsActor, requireAdministrator, requireValidAt } from './caller.ts';
import { describe, json } from './describe.ts';
import { imageParam, pin, pinParam } from './image-schemas.ts';

const PINS = '/api/organizations/{organization}/repositories/{repository}/images/{reference}/pins';

export function pinRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    PINS,
    'List the nodes that an image is pinned to',
    { params: imageParam },
    { 200: { description: 'The pins made by this tag or digest', ...json(z.object({ pins: z.array(pin) })) } },
  );
  api.openapi(list, async (c) => {
    requireAdministrator(c);
    const { repository, reference } = imageOf(c.req.valid('param'));
    return c.json({ pins: (await pinsOf(c).list(repository, reference)).map(view) }, 200);
  });

  const put = describe(
    'put',
    `${PINS}/{node}`,
    'Pin an image to a node, which then never evicts it. A pinned tag protects whichever image it names',
    { params: pinParam },
    { 200: { description: 'Pinned, whether or not the node has the image already', ...json(pin) } },
  );
  api.openapi(put, async (c) => {
    requireAdministrator(c);
    const { node, ...image } = c.req.valid('param');
    requireValidAt(c, [node]);
    const { repository, reference } = imageOf(image);
    return c.json(view(await pinsOf(c).add(node, repository, reference, Date.now(), callerAsActor(c))), 200);
  });

  const remove = describe(
    'delete',
    `${PINS}/{node}`,
    'Remove a pin',
    { params: pinParam },
    { 204: { description: 'Unpinned. The node may evict the image' } },
  );
  api.openapi(remove, async (c) => {
    requireAdministrator(c);
    const { node, ...image } = c.req.valid('param');
    requireValidAt(c, [node]);
    const { repository, reference } = imageOf(image);
    await pinsOf(c).remove(node, repository, reference, Date.now(), callerAsActor(c));
    return c.body(null, 204);
  });
}

function pinsOf(c: AppContext): Pins {
  return new Pins(c.get('runtime').config, c.env);
}

function imageOf({ organization, repository, reference }: z.infer<typeof imageParam>): {
  repository: RepositoryName;
  reference: Reference;
} {
  return { repository: parseRepositoryName(`${organization}/${repository}`), reference: parseReference(reference) };
}

function view({ node, pinnedAt }: Pin): z.infer<typeof pin> {
  return { node, pinned_at: formatTime(pinnedAt) };
}
