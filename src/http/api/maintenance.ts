/** The state of maintenance, for administrators. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { maintenanceForPage, type StoreMaintenance } from '../../maintenance/report.ts';
import type { AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { requireAdministrator } from './caller.ts';
import { describe, json } from './describe.ts';
import { storeMaintenance } from './schemas.ts';

const maintenance = z.object({
  collects: z.boolean().openapi({ description: 'Whether the configuration allows collection and eviction' }),
  scrubs: z.boolean().openapi({ description: 'Whether the scrub reads anything: false if `scrub_gb_per_day` is 0' }),
  stores: z.array(storeMaintenance),
});

export function maintenanceRoutes(api: OpenAPIHono<AppEnv>): void {
  const get = describe(
    'get',
    '/api/maintenance',
    'Show the maintenance tasks of every store: when they last ran, what they did, and what stops them',
    {},
    { 200: { description: 'One entry per store', ...json(maintenance) } },
  );
  api.openapi(get, async (c) => {
    requireAdministrator(c);
    const { config } = c.get('runtime');
    const stores = (await maintenanceForPage(config, c.env)).map(view);
    return c.json({ collects: config.collects, scrubs: config.scrubBytesPerDay > 0, stores }, 200);
  });
}

function view({ store, known }: StoreMaintenance): z.infer<typeof storeMaintenance> {
  return {
    store,
    answers: known !== undefined,
    tasks: (known?.tasks ?? []).map((task) => ({
      task: task.task,
      last_slice_at: formatTime(task.last_slice_at),
      next_at: formatTime(task.next_at),
      round_started_at: formatTime(task.round_started_at),
      round_ended_at: task.round_ended_at === null ? null : formatTime(task.round_ended_at),
      slices: task.slices,
      stopped: task.stopped,
    })),
    counters: Object.fromEntries(known?.counters ?? []),
  };
}
