/** The figures of queues by the hour, and those of an organization's use by the day and by repository. */
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { administersRepository } from '../../auth/delegation.ts';
import { repositoriesUsageOf, usageDaysOf } from '../../registry/organization-usage.ts';
import { BUCKETS, type HourFigures, HOURS_KEPT } from '../../replication/queue-state.ts';
import { MOST_HOURS_OF_ALL } from '../../replication/series.ts';
import type { AppEnv } from '../context.ts';
import { administrationOf, formatTime } from './administration.ts';
import { requireAdministrator, requireAdministratorOf } from './caller.ts';
import { describe, json } from './describe.ts';
import { replicationOf } from './replication.ts';
import { organizationParam } from './schemas.ts';
import { storeParam } from './queue-schemas.ts';
import { hoursQuery, queueSeries, repositoriesUsage, usageDays } from './series-schemas.ts';

export function seriesRoutes(api: OpenAPIHono<AppEnv>): void {
  const all = describe(
    'get',
    '/api/replication/series',
    'Show the hourly figures of all queues together',
    { query: hoursQuery(MOST_HOURS_OF_ALL) },
    { 200: { description: 'The last hours', ...json(queueSeries) } },
  );
  api.openapi(all, async (c) => {
    requireAdministrator(c);
    const { hours, complete } = await replicationOf(c).seriesOfAll(c.req.valid('query').hours);
    return c.json({ bucket_seconds: [...BUCKETS], hours: hours.map(view), complete }, 200);
  });

  const one = describe(
    'get',
    '/api/replication/queues/{store}/series',
    "Show the hourly figures of a node's queue",
    { params: storeParam, query: hoursQuery(HOURS_KEPT) },
    { 200: { description: 'The last hours', ...json(queueSeries) } },
  );
  api.openapi(one, async (c) => {
    requireAdministrator(c);
    const hours = await replicationOf(c).series(c.req.valid('param').store, c.req.valid('query').hours);
    return c.json({ bucket_seconds: [...BUCKETS], hours: hours.map(view), complete: true }, 200);
  });

  const use = describe(
    'get',
    '/api/organizations/{organization}/usage/days',
    'Show the daily usage of an organization',
    { params: organizationParam },
    { 200: { description: 'The last 90 days', ...json(usageDays) } },
  );
  api.openapi(use, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    await administrationOf(c).organization(organization);
    const days = await usageDaysOf(c.get('runtime').config, c.env, organization, Date.now());
    return c.json(
      { days: days.map(({ at, used, quota }) => ({ day: formatTime(at).slice(0, 10), used, quota })) },
      200,
    );
  });

  const byRepository = describe(
    'get',
    '/api/organizations/{organization}/usage/repositories',
    'Show the size of the largest repositories of an organization, which is measured once a day',
    { params: organizationParam },
    { 200: { description: 'The largest ones', ...json(repositoriesUsage) } },
  );
  api.openapi(byRepository, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    await administrationOf(c).organization(organization);
    const found = await repositoriesUsageOf(c.get('runtime').config, c.env, organization);
    const { count, bytes, largest } = found?.measured ?? { count: 0, bytes: 0, largest: [] };
    const shown = largest.filter(({ name }) => administersRepository(c.get('delegate'), organization, name));
    const others = {
      repositories: count - shown.length,
      bytes: bytes - shown.reduce((sum, { share }) => sum + share, 0),
    };
    const measuredAt = found === undefined ? null : formatTime(found.measuredAt);
    return c.json({ measured_at: measuredAt, repositories: shown, others }, 200);
  });
}

function view({ at, counters, histograms, held }: HourFigures): z.infer<typeof queueSeries>['hours'][number] {
  const histogram = (measure: keyof typeof histograms) => {
    const { buckets, count, sum } = histograms[measure];
    return { buckets: [...buckets], count, sum };
  };
  return {
    at: formatTime(at),
    manifests: counters.manifests ?? 0,
    announced: counters.announced ?? 0,
    announce_seconds: histogram('announce_seconds'),
    settled: counters.settled ?? 0,
    settle_seconds: histogram('settle_seconds'),
    deletions: counters.deletions ?? 0,
    copied_up_bytes: counters.copied_up_bytes ?? 0,
    copied_down_bytes: counters.copied_down_bytes ?? 0,
    retries: counters.retries ?? 0,
    held_bytes: held,
  };
}
