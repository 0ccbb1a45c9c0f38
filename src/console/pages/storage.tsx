/** Maintenance at each store: the last run of each task, its work, and why it is stopped. Also lists damaged blobs. */
import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import type { DamagedBlob, StoreMaintenance } from '../answers.ts';
import { Digest, State, Table, Time } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { Page } from '../layout.tsx';
import { repositoryPath } from '../paths.ts';

interface Maintenance {
  readonly collects: boolean;
  readonly scrubs: boolean;
  readonly stores: readonly StoreMaintenance[];
  readonly damaged: readonly DamagedBlob[] | null;
}

export function storagePages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/storage', async (c) => {
    const reader = c.get('reader');
    const { collects, scrubs, stores, damaged } = await reader.registry.get<Maintenance>('/api/maintenance');
    return c.html(
      <Page title="Storage" reader={reader} section="/storage">
        {!collects && <p class="problem">Collection and eviction are off in the configuration.</p>}
        {!scrubs && <p class="problem">The scrub is off: scrub_gb_per_day is 0.</p>}
        <Damaged blobs={damaged} />
        {stores.map(({ store, answers, tasks, counters }) => (
          <section>
            <h2>{store}</h2>
            {!answers && (
              <p>
                <State>does not answer</State>
              </p>
            )}
            <Table
              caption={`Maintenance of ${store}`}
              columns={['Task', 'Last run', 'Next run', 'Last full round', 'Stopped by']}
              rows={tasks.map((task) => [
                task.task,
                <Time at={task.last_slice_at} />,
                <Time at={task.next_at} />,
                <Time at={task.round_ended_at} />,
                task.stopped ?? '—',
              ])}
              empty="Maintenance has not run here yet. It runs each minute."
            />
            <Table
              caption={`Work done at ${store}`}
              columns={['Counter', 'Total']}
              rows={Object.entries(counters).map(([name, value]) => [name.replaceAll('_', ' '), value])}
              empty="Nothing has been collected, evicted or repaired yet."
            />
          </section>
        ))}
      </Page>,
    );
  });
  return pages;
}

const Damaged: FC<{ blobs: readonly DamagedBlob[] | null }> = ({ blobs }) => (
  <section>
    <h2>Damaged blobs</h2>
    <Table
      caption="Blobs whose object is missing or has other bytes"
      columns={['Blob', 'Store', 'Problem', 'Remedy']}
      rows={(blobs ?? []).map(({ digest, store, problem, lost, repository }) => [
        <Digest of={digest} />,
        store,
        <State>{lost ? 'lost' : problem}</State>,
        lost ? <PushAgain repository={repository} /> : 'None is needed: maintenance copies it from another store.',
      ])}
      empty={blobs === null ? <State>does not answer</State> : 'No blob is known to be damaged.'}
    />
  </section>
);

/** A lost blob comes back only with a push of an image that has it. */
const PushAgain: FC<{ repository: string | null }> = ({ repository }) =>
  repository === null ? (
    <>None is needed: no repository has it any more.</>
  ) : (
    <>
      No store has its bytes. Push the image of <a href={repositoryPath(repository)}>{repository}</a> again.
    </>
  );
