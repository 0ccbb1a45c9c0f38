import { createApp, loadRuntime } from './app.ts';
import { maintain } from './maintenance/schedule.ts';
import { logLine } from './log.ts';
import { wakeAllQueues } from './replication/queues.ts';

export { ReplicationQueue } from './replication/durable-object.ts';

const app = createApp();

export default {
  fetch(request, env, ctx) {
    return app.fetch(request, env, ctx);
  },

  async scheduled(_controller, env) {
    const { config } = await loadRuntime(env);
    const [maintained] = await Promise.all([maintain(config, env, Date.now()), wakeAllQueues(config, env)]);
    logLine({ scheduled: 'maintenance', ...maintained });
  },
} satisfies ExportedHandler<Env>;
