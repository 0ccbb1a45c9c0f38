/** The repositories that a caller may pull from, as a page of images shows them. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { pullableRanges } from '../../auth/credential.ts';
import { ALL, listable } from '../../auth/listable.ts';
import { OciError } from '../../oci/errors.ts';
import { MOST_TAGS_COUNTED, repositoriesPage } from '../../registry/images/repositories.ts';
import type { AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { describe, json } from './describe.ts';
import { lastOfPage, pageSize } from './paging.ts';
import { organizationParam } from './schemas.ts';
import { listedRepository } from './image-schemas.ts';

const MOST = 50;

const query = z.object({
  organization: organizationParam.shape.organization.optional().openapi({
    description: "Show only this organization's. By default all, or the caller's own if sorted by last push",
  }),
  sort: z.enum(['name', 'pushed']).default('name').openapi({
    description: 'name, or pushed: the last pushed first. pushed needs `organization`',
  }),
  prefix: z.string().default('').openapi({ description: 'Show only names that start with this' }),
  n: pageSize(MOST),
  last: z.string().default('').openapi({ description: '`last` of the previous page' }),
});

export function repositoryListRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    '/api/repositories',
    'List the repositories that the caller may pull from, with their last push and pull',
    { query },
    {
      200: {
        description: 'A page of repositories, which may be short although others follow',
        ...json(
          z.object({
            repositories: z.array(listedRepository),
            last: lastOfPage,
            complete: z
              .boolean()
              .openapi({ description: "false if a node's store does not answer, so its pulls are missing" }),
          }),
        ),
      },
    },
  );
  api.openapi(list, async (c) => {
    const { organization, sort, prefix, n: limit, last: after } = c.req.valid('query');
    const caller = c.get('caller');
    const own = caller.kind === 'organization' ? caller.organization : undefined;
    const byPushOf = sort === 'pushed' ? (organization ?? own) : undefined;
    if (sort === 'pushed' && byPushOf === undefined)
      throw new OciError('FIELD_INVALID', {
        message: 'organization: name one to sort its repositories by their last push',
        detail: { field: 'organization' },
      });
    const within = byPushOf ?? organization;
    const scope =
      within === undefined ? { ranges: pullableRanges(caller), publicWithin: ALL } : listable(caller, within);
    const page = await repositoriesPage(c.get('runtime').config, c.env, { scope, prefix, byPushOf, after, limit });
    return c.json(
      {
        repositories: page.repositories.map(({ name, public: isPublic, pushedAt, pulledAt, tags, bytes }) => ({
          name,
          visibility: isPublic ? 'public' : 'private',
          pushed_at: formatTime(pushedAt),
          pulled_at: pulledAt === 0 ? null : formatTime(pulledAt),
          tags,
          more_tags: tags === MOST_TAGS_COUNTED,
          bytes,
        })),
        last: page.last ?? null,
        complete: page.complete,
      },
      200,
    );
  });
}
