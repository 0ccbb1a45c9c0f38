/** Assembles the app: the middleware that every request passes, and the routes of each API. */
import { Hono } from 'hono';
import { getPath } from 'hono/utils/url';
import { AccessTokens } from './auth/access-token.ts';
import { Freshness } from './auth/freshness.ts';
import { KnownGood } from './auth/known-good.ts';
import { LoginLimits } from './auth/login-limits.ts';
import { askPlatform } from './auth/platform-call.ts';
import { PlatformChecks } from './auth/platform-checks.ts';
import { RefusedLogins } from './auth/refused-logins.ts';
import { SharedNotes } from './auth/shared-notes.ts';
import { SigningKeys } from './auth/signing-keys.ts';
import { parseConfig } from './config.ts';
import { consoleApp } from './console/app.tsx';
import { apiRoutes } from './http/api/routes.ts';
import type { AppContext, AppEnv, Runtime } from './http/context.ts';
import { withSmallBody } from './http/body.ts';
import { controlDataIsFresh } from './http/freshness.ts';
import { readableByListedOrigins } from './http/cors.ts';
import { errorResponse } from './http/error-response.ts';
import { frontPage } from './http/front-page.tsx';
import { healthRoutes } from './http/health.ts';
import { pacedPage, roomFor } from './http/large-answer.ts';
import { addAllow, allowOptions, answerOptions, noRoute } from './http/methods.ts';
import { pathWithin } from './http/mirror-host.ts';
import { metricsRoutes } from './http/metrics.ts';
import { ownPagesOnly } from './http/own-pages.ts';
import { isPlatformPath, platformErrorResponse } from './http/platform/error.ts';
import { platformRoutes } from './http/platform/routes.ts';
import { requestLog } from './http/request-log.ts';
import { SequentialRouter } from './http/router.ts';
import { tokenRoutes } from './http/token.ts';
import { encryptedOnly } from './http/transport.ts';
import { answerAfterBody } from './http/unread-body.ts';
import { v2Headers } from './http/v2/headers.ts';
import { v2Routes } from './http/v2/routes.ts';
import { type Hosts, organizationAt, resolveHost } from './namespaces/namespace.ts';
import { OciError } from './oci/errors.ts';
import type { OrganizationName } from './oci/reference.ts';
import { composeUpstreams } from './mirror/upstreams.ts';
import { composeRegistry, joinReads } from './registry/compose.ts';
import { Pulls } from './registry/pulls.ts';
import { composeQueues } from './replication/queues.ts';

/** The address that a client sent its request to. */
export interface Address {
  /** The URL as the client wrote it. */
  readonly url: URL;
  /** The port that the request came in on, if it can differ from the URL's. */
  readonly port?: string;
}

/**
 * Builds the app with all its routes.
 * @param addressOf finds the address that a request was sent to. A deployment uses the request's URL only, because a
 *   client can put anything into a header.
 */
export function createApp(
  addressOf: (request: Request) => Address = ({ url }) => ({ url: new URL(url) }),
): Hono<AppEnv> {
  const app = new Hono<AppEnv>({
    router: new SequentialRouter(),
    getPath: (request, options) => {
      const organization = mirrorAt(options?.env ?? {}, () => addressOf(request));
      return organization === undefined ? getPath(request) : pathWithin(organization, getPath(request));
    },
  });
  const refuse = (error: unknown, c: AppContext): Response =>
    addAllow(app, c, isPlatformPath(c.req.path) ? platformErrorResponse(error, c) : errorResponse(error, c));
  app.onError(refuse);
  app.notFound((c) => refuse(noRoute(app, c), c));

  app.use(answerAfterBody);
  app.use(async (c, next) => {
    const { url, port = url.port } = addressOf(c.req.raw);
    c.set('url', url);
    c.set('port', port);
    await next();
  });
  app.use(requestLog);
  app.use('/v2/*', v2Headers);
  app.use(async (c, next) => {
    const runtime = await loadRuntime(c.env);
    const [url, port] = [c.get('url'), c.get('port')];
    const namespace = resolveHost(runtime.config, url, port);
    if (namespace === 'console') {
      // A page that changes something has to forget what the isolate remembers by its own bindings.
      const bindings = c.req.method === 'GET' ? joinReads(runtime.config, c.env) : c.env;
      runtimes.set(bindings, runtime);
      const send = (request: Request): Response | Promise<Response> => app.fetch(request, bindings, c.executionCtx);
      return encryptedOnly(c, async () => {
        const given = { runtime, url, send, makeRoom: roomFor(c) };
        c.res = await pacedPage(c, await consoleApp.fetch(await withSmallBody(c), given, c.executionCtx));
      });
    }
    if (namespace === undefined) throw new OciError('HOST_UNKNOWN');
    const { config, keys: signer } = runtime;
    const defer = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
    const queues = composeQueues(config, c.env, defer);
    c.set('runtime', runtime);
    c.set('namespace', namespace);
    c.set('mirrorOrganization', organizationAt(config, url, port));
    c.set('queues', queues);
    const upstreams = composeUpstreams(c.env, namespace, defer);
    const surroundings = { config, env: c.env, signer, now: () => Date.now(), defer, queues, upstreams };
    c.set('registry', composeRegistry(surroundings, namespace));
    await next();
  });
  app.options('*', allowOptions(app));
  app.use(readableByListedOrigins);
  app.options('*', answerOptions);

  app.use(encryptedOnly);
  app.use('/api/*', ownPagesOnly).use('/v2/*', ownPagesOnly);
  app.get('/', frontPage);
  app.route('/', healthRoutes());
  app.use(controlDataIsFresh);
  app.route('/', tokenRoutes());
  app.route('/', v2Routes());
  app.route('/', platformRoutes());
  app.route('/', apiRoutes());
  app.route('/', metricsRoutes());
  return app;
}

/**
 * Returns the organization whose host a request was sent to; undefined for a host of a whole registry. It is also
 * undefined if the configuration is wrong. The answer to the request then says so.
 */
function mirrorAt(env: object, addressOf: () => Address): OrganizationName | undefined {
  const hosts = runtimes.get(env)?.config ?? hostsIn(env);
  if (hosts === undefined || hosts.mirrorHosts.length === 0) return undefined;
  const { url, port } = addressOf();
  return organizationAt(hosts, url, port);
}

function hostsIn(env: object): Hosts | undefined {
  try {
    return parseConfig(env);
  } catch {
    return undefined;
  }
}

const runtimes = new WeakMap<object, Runtime>();

/**
 * Returns the configuration, the keys and the caches of this isolate. The first request creates them. Requests share
 * the result but never a promise: a promise made by another request may never settle.
 * @throws ConfigError
 */
export async function loadRuntime(env: object): Promise<Runtime> {
  const loaded = runtimes.get(env);
  if (loaded !== undefined) return loaded;
  const config = parseConfig(env);
  const keys = await SigningKeys.import(config.signingKeys);
  // Requests that start at the same time all use the runtime of the first that gets here.
  const first = runtimes.get(env);
  if (first !== undefined) return first;
  const { platformAuthUrl: url, analytics } = config;
  const notes = new SharedNotes(keys);
  const runtime: Runtime = {
    config,
    keys,
    accessTokens: new AccessTokens(keys),
    knownGood: new KnownGood(notes),
    loginLimits: new LoginLimits(notes),
    refusedLogins: new RefusedLogins(),
    freshness: new Freshness(),
    platformChecks: url === undefined ? undefined : new PlatformChecks((token) => askPlatform(url, token)),
    pulls: analytics && new Pulls(analytics, config),
  };
  runtimes.set(env, runtime);
  return runtime;
}
