import { createApp, loadRuntime } from './app.ts';
import { maintain } from './gc/maintenance.ts';

export { ReplicationQueue } from './replication/durable-object.ts';

const app = createApp();

export default {
  fetch(request, env, ctx) {
    return app.fetch(request, env, ctx);
  },

  async scheduled(_controller, env) {
    const { config } = await loadRuntime(env);
    console.log(JSON.stringify({ scheduled: 'maintenance', ...(await maintain(config, env, Date.now())) }));
  },
} satisfies ExportedHandler<Env>;
