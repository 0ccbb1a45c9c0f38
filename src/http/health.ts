import { Hono } from 'hono';
import { storesHealth } from '../registry/compose.ts';
import type { AppEnv } from './context.ts';

/** `GET /healthz`: whether the stores answer. That the configuration is good is known by then. */
export function healthRoutes(): Hono<AppEnv> {
  const health = new Hono<AppEnv>();
  health.get('/healthz', async (c) => {
    const stores = await storesHealth(c.get('runtime').config, c.env);
    const healthy = Object.values(stores).every(({ database, bucket }) => database === 'ok' && bucket === 'ok');
    return c.json({ status: healthy ? 'ok' : 'unavailable', configuration: 'ok', stores }, healthy ? 200 : 503, {
      'Cache-Control': 'no-store',
    });
  });
  return health;
}
