/** Maintenance: what each task last did at each store, and what stops it. */
import { Hono } from 'hono';
import type { StoreMaintenance } from '../answers.ts';
import { State, Table, Time } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { Page } from '../layout.tsx';

export function storagePages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/storage', async (c) => {
    const reader = c.get('reader');
    const { collects, scrubs, stores } = await reader.registry.get<{
      collects: boolean;
      scrubs: boolean;
      stores: StoreMaintenance[];
    }>('/api/maintenance');
    return c.html(
      <Page title="Storage" reader={reader} section="/storage">
        {!collects && <p class="problem">Collection and eviction are off in the configuration.</p>}
        {!scrubs && <p class="problem">The scrub is off: scrub_gb_per_day is 0.</p>}
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
