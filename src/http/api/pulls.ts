/** Pulls by the hour, from all repositories or from one. */
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import type { RepositoryName } from '../../oci/reference.ts';
import { MOST_HOURS_OF_PULLS } from '../../registry/pulls.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { requireAdministrator } from './caller.ts';
import { describe, json } from './describe.ts';
import { requireImage } from './images.ts';
import { repositoryParam } from './schemas.ts';
import { hoursQuery, pullsByHour } from './series-schemas.ts';

export function pullRoutes(api: OpenAPIHono<AppEnv>): void {
  const query = hoursQuery(MOST_HOURS_OF_PULLS);
  const answer = { 200: { description: 'The last hours', ...json(pullsByHour) } };

  const all = describe('get', '/api/pulls/hours', 'Show how many pulls there were, by the hour', { query }, answer);
  api.openapi(all, async (c) => {
    requireAdministrator(c);
    return c.json(await pullsOf(c, undefined, c.req.valid('query').hours), 200);
  });

  const ofRepository = describe(
    'get',
    '/api/organizations/{organization}/repositories/{repository}/pulls/hours',
    'Show how many pulls from a repository there were, by the hour',
    { params: repositoryParam, query },
    answer,
  );
  api.openapi(ofRepository, async (c) => {
    const { repository } = await requireImage(c, { ...c.req.valid('param'), reference: '' }, 'pull');
    return c.json(await pullsOf(c, repository, c.req.valid('query').hours), 200);
  });
}

/** @throws OciError UNAVAILABLE */
async function pullsOf(
  c: AppContext,
  repository: RepositoryName | undefined,
  hours: number,
): Promise<z.infer<typeof pullsByHour>> {
  const { pulls } = c.get('runtime');
  const found = await pulls?.byHour(repository, hours, Date.now());
  return {
    counted: found !== undefined,
    hours: (found ?? []).map((hour) => ({ at: formatTime(hour.at), pulls: hour.pulls })),
  };
}
