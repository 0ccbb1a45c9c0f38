/** The tags of a repository, with the state of each at each store. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { TAG_STATES, type TagAtStores, tagStates } from '../../replication/tag-states.ts';
import type { AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { describe, json } from './describe.ts';
import { requireImage } from './images.ts';
import { lastOfPage, pageQuery, pageSize } from './paging.ts';
import { repositoryParam, time } from './schemas.ts';

const MAX_TAGS = 50;

export const tagAtStores = z
  .object({
    name: z.string(),
    digest: z.string(),
    pushed_at: time,
    origin: z.string().openapi({ description: 'The store that the tag was written at' }),
    size: z
      .int()
      .nullable()
      .openapi({ description: "Bytes of the image's distinct blobs; null until they are added up" }),
    kind: z.enum(['', 'initrd', 'rom']).nullable(),
    platforms: z.array(z.string()).openapi({
      description:
        'Those that an index of up to 64 KiB lists, 20 at most, or the one in the config of an image. A page reads up ' +
        'to 10 configs that no page has read before, each of up to 64 KiB; other images show none until then',
    }),
    pulled_at: time.nullable().openapi({
      description: 'The hour of the last pull of the image from any store that answers; null if there was none',
    }),
    states: z.array(z.object({ store: z.string(), state: z.enum(TAG_STATES) })).openapi({
      description:
        'One entry per store. absent: it lacks the image. superseded: it has an earlier write of the tag. ' +
        'pending: it has yet to announce the push to central. announced: it lacks some of the image. ' +
        'settled: it has all of the image. parked: like pending or announced, but replication gave up. ' +
        'unknown: it does not answer within a second, or the image has 300 descriptors or more',
    }),
  })
  .openapi('TagAtStores');

export function tagRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    '/api/organizations/{organization}/repositories/{repository}/tags',
    'List the tags of a repository from all stores, with their states at each store',
    { params: repositoryParam, query: pageQuery.extend({ n: pageSize(MAX_TAGS) }) },
    {
      200: {
        description: 'A page of tags, in order of their names',
        ...json(
          z.object({
            tags: z.array(tagAtStores),
            stores: z
              .array(z.object({ store: z.string(), answers: z.boolean() }))
              .openapi({ description: "Central first. If a node's store does not answer, its tags may be missing" }),
            last: lastOfPage,
          }),
        ),
      },
    },
  );
  api.openapi(list, async (c) => {
    const { repository } = await requireImage(c, { ...c.req.valid('param'), reference: '' }, 'pull');
    const { n: limit, last: after } = c.req.valid('query');
    const defer = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
    const page = await tagStates(c.get('runtime').config, c.env, repository, { limit, after }, defer);
    return c.json({ tags: page.tags.map(view), stores: [...page.stores], last: page.last ?? null }, 200);
  });
}

function view({
  name,
  digest,
  pushedAt,
  origin,
  size,
  kind,
  platforms,
  pulledAt,
  states,
}: TagAtStores): z.infer<typeof tagAtStores> {
  return {
    name,
    digest,
    pushed_at: formatTime(pushedAt),
    origin,
    size: size ?? null,
    kind: kind ?? null,
    platforms: [...platforms],
    pulled_at: pulledAt === undefined ? null : formatTime(pulledAt),
    states: [...states],
  };
}
