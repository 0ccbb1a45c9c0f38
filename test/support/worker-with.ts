/** The Worker with other bindings or settings than those of the test configuration. */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { createApp } from '../../src/app.ts';

type Fetcher = (request: Request) => Promise<Response>;

/**
 * Returns a Worker in which these bindings replace others. Pass it to `call` as `fetcher`. It answers once the work
 * that goes on after a response is done.
 */
export function workerWith(bindings: object): Fetcher {
  return async (request) => {
    const context = createExecutionContext();
    const response = await createApp().fetch(request, { ...env, ...bindings }, context);
    await waitOnExecutionContext(context);
    return response;
  };
}

/** Returns a Worker in which these settings replace others of the variable REGISTRY, on every route. */
export function workerConfigured(settings: object): Fetcher {
  return workerWith({ REGISTRY: { ...env.REGISTRY, ...settings } });
}
