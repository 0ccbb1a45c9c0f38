/** The latest pushes that a caller may see, and for administrators their number hour by hour. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { HOURS_OF_DOCUMENTS, latestPushesOf, pushesByHourOf } from '../../registry/latest-pushes.ts';
import { pullableRanges } from '../../auth/credential.ts';
import { ALL } from '../../auth/listable.ts';
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
    'List the latest pushes of manifests that were new to central, to repositories that the caller may pull from',
    { query: z.object({ n: pageSize(MOST) }) },
    {
      200: {
        description:
          'The pushes, latest first, each with one of its tags. An administrator sees those to all repositories',
        ...json(z.object({ pushes: z.array(latestPush) })),
      },
    },
  );
  api.openapi(list, async (c) => {
    const caller = c.get('caller');
    // An administrator manages all repositories, so it knows their names.
    const ranges = caller.kind === 'administrator' ? [ALL] : pullableRanges(caller);
    const pushes = await latestPushesOf(c.get('runtime').config, c.env, ranges, c.req.valid('query').n);
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
