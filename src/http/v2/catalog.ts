import type { Hono } from 'hono';
import { requireCatalog } from '../access.ts';
import type { AppEnv } from '../context.ts';
import { linkToNext, pageRequest } from './pagination.ts';

export function catalogRoutes(v2: Hono<AppEnv>): void {
  v2.get('/v2/_catalog', async (c) => {
    const request = pageRequest(c);
    const page = await c.get('registry').listRepositories(requireCatalog(c), request);
    return c.json({ repositories: page.items }, 200, linkToNext(c, '/v2/_catalog', page, request));
  });
}
