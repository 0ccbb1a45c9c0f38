/** The queues of the nodes, with their lag and parked jobs. Administrators pause and resume them here. */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { Child, FC } from 'hono/jsx';
import type { OnlyHere, ParkedJob, Queue, QueueSeries, Turns } from '../answers.ts';
import { LagOverLastDay } from '../charts/lag.tsx';
import { QueueFigures } from '../charts/queue-figures.tsx';
import { Bytes, Digest, inUnits, State, Table } from '../components.tsx';
import type { ConsoleEnv, SignedIn } from '../context.ts';
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

/** The most tags, manifests and blobs that a page lists. */
const SHOWN = 20;

interface WaitingPage {
  readonly items: readonly OnlyHere[];
  readonly last: string | null;
  readonly complete: boolean;
}

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
        <QueueFigures series={series} now={Date.now()} />
      </Page>,
    );
  });

  pages.get('/replication/:store', async (c) => {
    const reader = c.get('reader');
    const store = c.req.param('store');
    const [{ queues }, parked, series, turns, waiting] = await Promise.all([
      reader.registry.get<{ queues: Queue[] }>('/api/replication/queues'),
      ifSoon(reader.registry.get<{ jobs: ParkedJob[] }>(`${api(store)}/parked`)),
      ifSoon(reader.registry.get<QueueSeries>(`${api(store)}/series`)),
      ifSoon(reader.registry.get<Turns>(`${api(store)}/turns`)),
      ifSoon(reader.registry.get<WaitingPage>(`${api(store)}/only-here`, { n: SHOWN })),
    ]);
    const queue = queues.find((each) => each.store === store);
    if (queue === undefined) throw new HTTPException(404, { message: `there is no queue ${store}` });
    const jobs = parked?.jobs ?? [];
    const path = `/replication/${store}`;
    return c.html(
      <Page title={`Queue of ${store}`} reader={reader} section="/replication">
        <Table caption="The queue" columns={QUEUE_COLUMNS} stacks rows={[queueRow(queue)]} empty="" />
        <QueueActions reader={reader} queue={queue} />
        <Action reader={reader} action={`${path}/announce-all`} label="Announce everything again" />
        <Copies turns={turns} />
        <Waiting page={waiting} />
        <LagOverLastDay series={series} now={Date.now()} />
        <QueueFigures series={series} now={Date.now()} />
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

/** Pauses or resumes a queue, or wakes it, which also tries its parked jobs again. */
export const QueueActions: FC<{ reader: SignedIn; queue: Queue }> = ({ reader, queue: { store, paused } }) => (
  <div class="actions">
    <Action
      reader={reader}
      action={`/replication/${store}/paused`}
      fields={{ paused: String(!paused) }}
      label={`${paused ? 'Resume' : 'Pause'} ${store}`}
    />
    <Action reader={reader} action={`/replication/${store}/retry`} label={`Wake ${store}`} />
  </div>
);

const NO_ANSWER = <State>does not answer</State>;

/** The copies under way, and the organizations in the order of their turns. */
const Copies: FC<{ turns: Turns | undefined }> = ({ turns }) => (
  <>
    <h2>Copies</h2>
    <Table
      caption="Blobs that are being copied now"
      columns={['Direction', 'Organization', 'Blob', 'Size']}
      rows={(turns?.copying ?? []).map(({ kind, organization, digest, bytes }) => [
        kind === 'copy up' ? 'up' : 'down',
        organization,
        <Digest of={digest} />,
        bytes === null ? <span class="faint">not known</span> : <Bytes of={bytes} />,
      ])}
      empty={turns ? 'Nothing is being copied now.' : NO_ANSWER}
    />
    <Table
      caption="Organizations in the order of their turns, each of which copies one blob"
      columns={['Organization', 'Blobs that wait']}
      rows={(turns?.waiting ?? []).map(({ organization, blobs }) => [organization, blobs])}
      empty={turns ? 'No copy waits for its turn.' : NO_ANSWER}
    />
  </>
);

/** The first tags, manifests and blobs that central has yet to get from the node. */
const Waiting: FC<{ page: WaitingPage | undefined }> = ({ page }) => (
  <>
    <h2>Not at central yet</h2>
    {page?.complete === false && <p class="problem">The node does not answer, so only blobs are shown.</p>}
    <Table
      caption="Tags and manifests to announce, and blobs to copy to central"
      columns={['Kind', 'Of', 'Name', 'Size']}
      rows={(page?.items ?? []).map((item) =>
        item.kind === 'blob'
          ? [item.kind, item.organization, <Digest of={item.key} />, <Bytes of={item.size} />]
          : [item.kind, item.repository, item.kind === 'tag' ? item.key : <Digest of={item.key} />, ''],
      )}
      empty={page ? 'Central has everything that the node has.' : NO_ANSWER}
    />
    {page && page.last !== null && <p>and more</p>}
  </>
);
