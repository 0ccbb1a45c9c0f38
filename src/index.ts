import { createApp, loadRuntime } from './app.ts';
import { maintain, scrubStores } from './maintenance/schedule.ts';
import { isHourly } from './maintenance/triggers.ts';
import { logLine } from './log.ts';
import { wakeAllQueues } from './replication/queues.ts';

export { OrganizationImports } from './import/durable-object.ts';
export { MirrorBlob } from './mirror/blob.ts';
export { OrganizationMirror } from './mirror/durable-object.ts';
export { ReplicationQueue } from './replication/durable-object.ts';

const app = createApp();

export default {
  fetch(request, env, ctx) {
    return app.fetch(request, env, ctx);
  },

  async scheduled({ cron }, env) {
    const { config } = await loadRuntime(env);
    if (isHourly(cron)) {
      logLine({ scheduled: 'scrub', ...(await scrubStores(config, env, Date.now())) });
      return;
    }
    const [maintained] = await Promise.all([maintain(config, env, Date.now()), wakeAllQueues(config, env)]);
    logLine({ scheduled: 'maintenance', ...maintained });
  },
} satisfies ExportedHandler<Env>;
