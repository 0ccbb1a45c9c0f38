/** The state of maintenance, for administrators. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import {
  damageForPage,
  type DamageShown,
  maintenanceForPage,
  type StoreMaintenance,
} from '../../maintenance/report.ts';
import type { AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { requireAdministrator } from './caller.ts';
import { describe, json } from './describe.ts';
import { damagedBlob, storeMaintenance } from './schemas.ts';

/** The most damaged blobs in an answer. */
const MOST_DAMAGED = 50;

const maintenance = z.object({
  collects: z.boolean().openapi({ description: 'Whether the configuration allows collection and eviction' }),
  scrubs: z.boolean().openapi({ description: 'Whether the scrub reads anything: false if `scrub_gb_per_day` is 0' }),
  stores: z.array(storeMaintenance),
  damaged: z
    .array(damagedBlob)
    .nullable()
    .openapi({ description: `The first ${MOST_DAMAGED} that central knows of; null if it does not answer` }),
});

export function maintenanceRoutes(api: OpenAPIHono<AppEnv>): void {
  const get = describe(
    'get',
    '/api/maintenance',
    'Show the maintenance tasks of every store, with their last runs and work, and the blobs that are damaged',
    {},
    { 200: { description: 'One entry per store', ...json(maintenance) } },
  );
  api.openapi(get, async (c) => {
    requireAdministrator(c);
    const { config } = c.get('runtime');
    const [stores, damaged] = await Promise.all([
      maintenanceForPage(config, c.env),
      damageForPage(config, c.env, MOST_DAMAGED),
    ]);
    return c.json(
      {
        collects: config.collects,
        scrubs: config.scrubBytesPerDay > 0,
        stores: stores.map(view),
        damaged: damaged?.map(viewOfDamage) ?? null,
      },
      200,
    );
  });
}

function viewOfDamage({ digest, store, damage, elsewhere, repository }: DamageShown): z.infer<typeof damagedBlob> {
  return { digest, store, problem: damage, lost: elsewhere === 0, repository };
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
