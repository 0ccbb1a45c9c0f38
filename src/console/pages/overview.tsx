/** The start page, which shows at a glance whether everything is in step. */
import { Hono } from 'hono';
import type { AuditEntry, PullsByHour, PushesByHour, Queue, QueueSeries } from '../answers.ts';
import { LagOverLastDay } from '../charts/lag.tsx';
import { PullsOverLastDay } from '../charts/pulls.tsx';
import { PushesOverLastDay } from '../charts/pushes.tsx';
import { SystemMap } from '../charts/system-map.tsx';
import { Live, Table, Time } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { LatestPushes, readLatestPushes } from '../latest-pushes.tsx';
import { Page } from '../layout.tsx';
import { ifSoon, unless } from '../registry-client.ts';
import { actorOf } from './audit.tsx';
import { queueRow, QUEUE_COLUMNS } from './replication.tsx';

export function overviewPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/', async (c) => {
    const reader = c.get('reader');
    if (reader.caller.kind !== 'administrator') return c.redirect('/images', 303);
    const { registry } = reader;
    // An open page refreshes its tables, but not the charts.
    const isWhole = c.req.header('HX-Request') === undefined;
    const [{ queues }, latest, audit, series, pushes, pulls] = await Promise.all([
      registry.get<{ queues: Queue[] }>('/api/replication/queues'),
      readLatestPushes(registry),
      ifSoon(registry.get<{ entries: AuditEntry[] }>('/api/audit?n=10')),
      isWhole ? unless(503, registry.get<QueueSeries>('/api/replication/series')) : undefined,
      isWhole ? ifSoon(registry.get<PushesByHour>('/api/pushes/hours')) : undefined,
      isWhole ? ifSoon(registry.get<PullsByHour>('/api/pulls/hours')) : undefined,
    ]);
    return c.html(
      <Page title="Overview" reader={reader} section="/">
        <Live id="overview" path="/">
          <SystemMap queues={queues} />
          <Table
            caption="Nodes"
            columns={QUEUE_COLUMNS}
            stacks
            rows={queues.map(queueRow)}
            empty="There are no nodes. Add one with npm run add-node."
          />
          <LatestPushes latest={latest} />
          <h2>Latest changes</h2>
          <Table
            caption="Latest changes"
            columns={['When', 'What', 'About', 'By']}
            rows={(audit?.entries ?? []).map((entry) => [
              <Time at={entry.at} />,
              entry.action,
              [entry.repository ?? entry.organization, entry.key].filter((part) => part !== null).join(' '),
              actorOf(entry),
            ])}
            empty={
              audit ? 'Nothing has been changed yet.' : 'A store does not answer, so the latest changes are not shown.'
            }
          />
        </Live>
        {isWhole && <PushesOverLastDay pushes={pushes} series={series} now={Date.now()} />}
        {isWhole && <PullsOverLastDay pulls={pulls} now={Date.now()} />}
        {isWhole && queues.length > 0 && <LagOverLastDay series={series} now={Date.now()} />}
      </Page>,
    );
  });
  return pages;
}
