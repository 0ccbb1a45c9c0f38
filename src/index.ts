import { createApp, loadRuntime } from './app.ts';
import { maintain } from './gc/maintenance.ts';

const app = createApp();

export default {
  fetch(request, env, ctx) {
    return app.fetch(request, env, ctx);
  },

  async scheduled(_controller, env, ctx) {
    const { config, keys } = await loadRuntime(env);
    const done = await maintain({ config, env, signer: keys, now: () => Date.now(), defer: (work) => ctx.waitUntil(work) });
    console.log(JSON.stringify({ scheduled: 'maintenance', ...done }));
  },
} satisfies ExportedHandler<Env>;
