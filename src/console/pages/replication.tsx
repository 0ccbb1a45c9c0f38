/** The queues of the nodes, with their lag and parked jobs. Administrators pause and resume them here. */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { Child } from 'hono/jsx';
import type { ParkedJob, Queue, QueueSeries } from '../answers.ts';
import { LagOverLastDay } from '../charts/lag.tsx';
import { inUnits, State, Table } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { FormFields } from '../form.ts';
import { Action, Page } from '../layout.tsx';
import { ifSoon, unless } from '../registry-client.ts';

export const QUEUE_COLUMNS = [
  'Node',
  'State',
  'To announce',
  'Oldest',
  'To copy up',
  'To copy down',
  'Parked',
  'Behind',
];

const api = (store: string): string => `/api/replication/queues/${encodeURIComponent(store)}`;

export function queueRow(queue: Queue): Child[] {
  const { copies_up: up } = queue;
  const applied = queue.change_log.find(({ store }) => store === queue.store);
  const ifKnown = (figure: Child): Child => (queue.answers ? figure : '?');
  return [
    <a href={`/replication/${queue.store}`}>{queue.store}</a>,
    <State>{queue.answers ? (queue.paused ? 'paused' : 'ok') : 'does not answer'}</State>,
    ifKnown(queue.depth),
    ifKnown(queue.oldest_outbox_entry_seconds === null ? '—' : `${queue.oldest_outbox_entry_seconds} s`),
    up === null ? '?' : `${up.complete ? '' : 'at least '}${up.blobs} (${inUnits(up.bytes)})`,
    ifKnown(queue.copies_down),
    ifKnown(queue.parked === 0 ? '0' : <State>{`${queue.parked} parked`}</State>),
    up === null ? '?' : (applied?.behind ?? 'never heard'),
  ];
}

export function replicationPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/replication', async (c) => {
    const reader = c.get('reader');
    const [{ queues }, series] = await Promise.all([
      reader.registry.get<{ queues: Queue[] }>('/api/replication/queues'),
      unless(503, reader.registry.get<QueueSeries>('/api/replication/series')),
    ]);
    return c.html(
      <Page title="Replication" reader={reader} section="/replication">
        <Table
          caption="Queues of the nodes"
          columns={QUEUE_COLUMNS}
          stacks
          rows={queues.map(queueRow)}
          empty="There are no nodes. Add one with npm run add-node."
        />
        {queues.length > 0 && <LagOverLastDay series={series} now={Date.now()} />}
      </Page>,
    );
  });

  pages.get('/replication/:store', async (c) => {
    const reader = c.get('reader');
    const store = c.req.param('store');
    const [{ queues }, parked, series] = await Promise.all([
      reader.registry.get<{ queues: Queue[] }>('/api/replication/queues'),
      ifSoon(reader.registry.get<{ jobs: ParkedJob[] }>(`${api(store)}/parked`)),
      ifSoon(reader.registry.get<QueueSeries>(`${api(store)}/series`)),
    ]);
    const queue = queues.find((each) => each.store === store);
    if (queue === undefined) throw new HTTPException(404, { message: `there is no queue ${store}` });
    const jobs = parked?.jobs ?? [];
    const path = `/replication/${store}`;
    return c.html(
      <Page title={`Queue of ${store}`} reader={reader} section="/replication">
        <Table caption="The queue" columns={QUEUE_COLUMNS} stacks rows={[queueRow(queue)]} empty="" />
        <Action
          reader={reader}
          action={`${path}/paused`}
          fields={{ paused: String(!queue.paused) }}
          label={queue.paused ? 'Resume' : 'Pause'}
        />
        <Action reader={reader} action={`${path}/retry`} label="Wake" />
        <Action reader={reader} action={`${path}/announce-all`} label="Announce everything again" />
        <LagOverLastDay series={series} now={Date.now()} />
        <h2>Parked jobs</h2>
        {jobs.length > 0 && <p>Waking the queue tries all of them again.</p>}
        <Table
          caption="Jobs that replication gave up on"
          columns={['Job', 'Attempts', 'Last error', 'Actions']}
          rows={jobs.map(({ job, attempts, last_error }) => [
            <code>{job}</code>,
            attempts,
            last_error,
            <Action reader={reader} action={`${path}/retry`} fields={{ job }} label="Retry" />,
          ])}
          empty={parked === undefined ? <State>does not answer</State> : 'No job is parked.'}
        />
      </Page>,
    );
  });

  pages.post('/replication/:store/paused', async (c) => {
    const store = c.req.param('store');
    const paused = (await FormFields.of(c)).text('paused');
    await c.get('reader').registry.change('PATCH', api(store), { paused: paused === 'true' });
    return c.redirect(`/replication/${store}`, 303);
  });

  pages.post('/replication/:store/retry', async (c) => {
    const store = c.req.param('store');
    const job = (await FormFields.of(c)).text('job');
    await c.get('reader').registry.change('POST', `${api(store)}/retry`, job === '' ? {} : { job });
    return c.redirect(`/replication/${store}`, 303);
  });

  pages.post('/replication/:store/announce-all', async (c) => {
    const store = c.req.param('store');
    await c.get('reader').registry.change('POST', `${api(store)}/announce-all`);
    return c.redirect(`/replication/${store}`, 303);
  });
  return pages;
}
