import type { Hono } from 'hono';
import { requireRead } from '../access.ts';
import type { AppEnv } from '../context.ts';
import { linkToNext, pageRequest } from './pagination.ts';
import { repositoryOf, routeOf } from './target.ts';

export function tagRoutes(v2: Hono<AppEnv>): void {
  v2.get(routeOf('/tags/list'), async (c) => {
    const name = repositoryOf(c);
    const request = pageRequest(c);
    const page = await c.get('registry').listTags(requireRead(c, name), request);
    return c.json({ name, tags: page.items }, 200, linkToNext(c, `/v2/${name}/tags/list`, page, request));
  });
}
