/** The start page, which shows at a glance whether everything is in step. */
import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import type { AuditEntry, PullsByHour, PushesByHour, Queue, QueueSeries, StoreMaintenance } from '../answers.ts';
import { LagOverLastDay } from '../charts/lag.tsx';
import { PullsOverLastDay } from '../charts/pulls.tsx';
import { PushesOverLastDay } from '../charts/pushes.tsx';
import { SystemMap } from '../charts/system-map.tsx';
import { Live, State, Table, Time } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { LatestPushes, readLatestPushes } from '../latest-pushes.tsx';
import { Page } from '../layout.tsx';
import { ifSoon, unless, WITH_NODES_MILLISECONDS } from '../registry-client.ts';
import { actorOf } from './audit.tsx';
import { QueueActions, queueRow, QUEUE_COLUMNS } from './replication.tsx';

export function overviewPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/', async (c) => {
    const reader = c.get('reader');
    if (reader.caller.kind !== 'administrator') return c.redirect('/images', 303);
    const { registry } = reader;
    // An open page refreshes its tables, but not the charts.
    const isWhole = c.req.header('HX-Request') === undefined;
    const [{ queues }, maintenance, latest, audit, series, pushes, pulls] = await Promise.all([
      registry.get<{ queues: Queue[] }>('/api/replication/queues'),
      ifSoon(registry.get<{ stores: StoreMaintenance[] }>('/api/maintenance'), WITH_NODES_MILLISECONDS),
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
            columns={[...QUEUE_COLUMNS, 'Actions']}
            stacks
            rows={queues.map((queue) => [...queueRow(queue), <QueueActions reader={reader} queue={queue} />])}
            empty="There are no nodes. Add one with npm run add-node."
          />
          <LatestPushes latest={latest} />
          <Maintenance stores={maintenance?.stores} />
          <h2>Latest changes</h2>
          <Table
            caption="Latest changes"
            columns={['Time', 'Action', 'About', 'By']}
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

/** The last run of maintenance at each store, and the tasks that are stopped. */
const Maintenance: FC<{ stores: readonly StoreMaintenance[] | undefined }> = ({ stores }) => (
  <>
    <h2>Maintenance</h2>
    <Table
      caption="Maintenance at each store"
      columns={['Store', 'Last run', 'Last task', 'Stopped']}
      stacks
      rows={(stores ?? []).map(({ store, answers, tasks }) => {
        const last = tasks.toSorted((a, b) => (a.last_slice_at < b.last_slice_at ? 1 : -1))[0];
        const stopped = tasks.filter((task) => task.stopped !== null);
        return [
          <a href="/storage">{store}</a>,
          answers ? <Time at={last?.last_slice_at ?? null} /> : <State>does not answer</State>,
          last?.task ?? '',
          stopped.map((task) => `${task.task}: ${task.stopped}`).join('; ') || '—',
        ];
      })}
      empty={<State>does not answer</State>}
    />
  </>
);
