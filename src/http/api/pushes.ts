/** The latest pushes, for administrators. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { latestPushesOf } from '../../registry/latest-pushes.ts';
import type { AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { requireAdministrator } from './caller.ts';
import { describe, json } from './describe.ts';
import { pageSize } from './paging.ts';
import { latestPush } from './image-schemas.ts';

/** The most pushes in an answer. */
const MOST = 50;

export function pushRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    '/api/pushes',
    'List the latest pushes of new manifests that central knows of, latest first',
    { query: z.object({ n: pageSize(MOST) }) },
    {
      200: {
        description: 'Tags on manifests that central did not have before',
        ...json(z.object({ pushes: z.array(latestPush) })),
      },
    },
  );
  api.openapi(list, async (c) => {
    requireAdministrator(c);
    const pushes = await latestPushesOf(c.get('runtime').config, c.env, c.req.valid('query').n);
    return c.json(
      {
        pushes: pushes.map(({ repository, tag, pushedAt, origin }) => ({
          repository,
          tag,
          pushed_at: formatTime(pushedAt),
          origin,
        })),
      },
      200,
    );
  });
}
