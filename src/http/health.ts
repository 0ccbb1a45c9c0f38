import { Hono } from 'hono';
import { healthOfStore } from '../registry/compose.ts';
import type { AppEnv } from './context.ts';

/** `GET /healthz`: reports whether this host's store answers. A request with a bad configuration never gets here. */
export function healthRoutes(): Hono<AppEnv> {
  const health = new Hono<AppEnv>();
  health.get('/healthz', async (c) => {
    const namespace = c.get('namespace');
    const { database, bucket } = await healthOfStore(c.env, namespace);
    const healthy = database === 'ok' && bucket === 'ok';
    const stores = { [namespace.store]: { database, bucket } };
    return c.json({ status: healthy ? 'ok' : 'unavailable', configuration: 'ok', stores }, healthy ? 200 : 503, {
      'Cache-Control': 'no-store',
    });
  });
  return health;
}
