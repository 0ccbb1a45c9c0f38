import { createMiddleware } from 'hono/factory';
import { composeControlData } from '../registry/compose.ts';
import type { AppEnv } from './context.ts';

/** Refuses a request to a node that has not heard from central for too long. @throws OciError UNAVAILABLE */
export const controlDataIsFresh = createMiddleware<AppEnv>(async (c, next) => {
  const namespace = c.get('namespace');
  if (namespace.kind === 'node') {
    const defer = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
    await c.get('runtime').freshness.require(namespace.store, composeControlData(c.env, namespace), Date.now(), defer);
  }
  await next();
});
