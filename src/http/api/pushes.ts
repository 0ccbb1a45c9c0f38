/** The latest pushes, and their number hour by hour, for administrators. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { HOURS_OF_DOCUMENTS, latestPushesOf, pushesByHourOf } from '../../registry/latest-pushes.ts';
import type { AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { requireAdministrator } from './caller.ts';
import { describe, json } from './describe.ts';
import { pageSize } from './paging.ts';
import { hoursQuery, pushesByHour } from './series-schemas.ts';
import { latestPush } from './image-schemas.ts';

/** The most pushes in an answer. */
const MOST = 50;

export function pushRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    '/api/pushes',
    'List the latest pushes of manifests that were new to central, latest first',
    { query: z.object({ n: pageSize(MOST) }) },
    {
      200: {
        description: 'The pushes, each with one of its tags',
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

  const byHour = describe(
    'get',
    '/api/pushes/hours',
    'Count the manifests that were new to central, hour by hour',
    { query: hoursQuery(HOURS_OF_DOCUMENTS) },
    { 200: { description: 'The last hours', ...json(pushesByHour) } },
  );
  api.openapi(byHour, async (c) => {
    requireAdministrator(c);
    const { hours } = c.req.valid('query');
    const found = await pushesByHourOf(c.get('runtime').config, c.env, Date.now(), hours);
    return c.json({ hours: found.map(({ at, documents }) => ({ at: formatTime(at), manifests: documents })) }, 200);
  });
}
