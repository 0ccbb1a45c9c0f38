/** The HTTP surfaces, and what every request passes on its way to one. */
import { Hono } from 'hono';
import { AccessTokens } from './auth/access-token.ts';
import { Freshness } from './auth/freshness.ts';
import { KnownGood } from './auth/login.ts';
import { askPlatform } from './auth/platform-call.ts';
import { PlatformChecks } from './auth/platform-checks.ts';
import { RefusedLogins } from './auth/refused-logins.ts';
import { SigningKeys } from './auth/signing-keys.ts';
import { parseConfig } from './config.ts';
import { apiRoutes } from './http/api/routes.ts';
import type { AppEnv, Runtime } from './http/context.ts';
import { controlDataIsFresh } from './http/control-data.ts';
import { errorResponse } from './http/error-response.ts';
import { healthRoutes } from './http/health.ts';
import { metricsRoutes } from './http/metrics.ts';
import { isPlatformPath, platformErrorResponse } from './http/platform/error.ts';
import { platformRoutes } from './http/platform/routes.ts';
import { requestLog } from './http/request-log.ts';
import { tokenRoutes } from './http/token.ts';
import { encryptedOnly } from './http/transport.ts';
import { v2Routes } from './http/v2/routes.ts';
import { resolveNamespace } from './namespaces/namespace.ts';
import { OciError } from './oci/errors.ts';
import { composeRegistry } from './registry/compose.ts';
import { composeQueues } from './replication/queues.ts';

export function createApp(): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.onError((error, c) => (isPlatformPath(c.req.path) ? platformErrorResponse(error, c) : errorResponse(error, c)));
  app.notFound((c) => errorResponse(new OciError('ROUTE_UNKNOWN'), c));

  app.use(requestLog);
  app.use(async (c, next) => {
    const runtime = await loadRuntime(c.env);
    const namespace = resolveNamespace(runtime.config.hosts, c.get('url'));
    if (namespace === undefined) throw new OciError('HOST_UNKNOWN');
    const { config, keys: signer } = runtime;
    const defer = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
    const queues = composeQueues(config, c.env, defer);
    c.set('runtime', runtime);
    c.set('namespace', namespace);
    c.set('queues', queues);
    c.set('registry', composeRegistry({ config, env: c.env, signer, now: () => Date.now(), defer, queues }, namespace));
    await next();
  });

  app.use(encryptedOnly);
  app.get('/', (c) => {
    const { host } = c.get('url');
    return c.text(
      `Berth, an OCI registry.\n\nLog in:  docker login ${host}\nPush:    docker push ${host}/<organization>/<name>:<tag>\n`,
    );
  });
  app.route('/', healthRoutes());
  app.use(controlDataIsFresh);
  app.route('/', tokenRoutes());
  app.route('/', v2Routes());
  app.route('/', platformRoutes());
  app.route('/', apiRoutes());
  app.route('/', metricsRoutes());
  return app;
}

const runtimes = new WeakMap<object, Runtime>();

/**
 * Configuration and keys, read by the first request of an isolate. Only the result is shared: a promise that another
 * request made may never settle.
 * @throws ConfigError
 */
export async function loadRuntime(env: object): Promise<Runtime> {
  const loaded = runtimes.get(env);
  if (loaded !== undefined) return loaded;
  const config = parseConfig(env);
  const keys = await SigningKeys.import(config.signingKeys);
  // Of requests that began at once the first to get here is the one whose memory all share.
  const first = runtimes.get(env);
  if (first !== undefined) return first;
  const { platformAuthUrl: url } = config;
  const runtime: Runtime = {
    config,
    keys,
    accessTokens: new AccessTokens(keys),
    knownGood: new KnownGood(),
    refusedLogins: new RefusedLogins(),
    freshness: new Freshness(),
    platformChecks: url === undefined ? undefined : new PlatformChecks((token) => askPlatform(url, token)),
  };
  runtimes.set(env, runtime);
  return runtime;
}
