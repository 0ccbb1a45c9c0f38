/** The management API: JSON under /api/, described by /api/openapi.json. */
import { OpenAPIHono } from '@hono/zod-openapi';
import { HTTPException } from 'hono/http-exception';
import { OciError } from '../../oci/errors.ts';
import { smallBodiesOnly } from '../body.ts';
import type { AppEnv } from '../context.ts';
import { errorResponse } from '../error-response.ts';
import { authenticateCaller, DOCUMENT } from './caller.ts';
import { noStore } from '../no-store.ts';
import { callerRoutes } from './caller-description.ts';
import { credentialRoutes } from './credentials.ts';
import { deploymentRoutes } from './deployment.ts';
import { importRoutes } from './imports.ts';
import { imageRoutes } from './images.ts';
import { mirrorRoutes } from './mirrors.ts';
import { organizationRoutes } from './organizations.ts';
import { pinRoutes } from './pins.ts';
import { pullRoutes } from './pulls.ts';
import { pushRoutes } from './pushes.ts';
import { replicationRoutes } from './replication.ts';
import { repositoryListRoutes } from './repository-list.ts';
import { repositoryRoutes } from './repositories.ts';
import { seriesRoutes } from './series.ts';
import { tagRoutes } from './tags.ts';
import { auditRoutes } from './audit.ts';
import { maintenanceRoutes } from './maintenance.ts';

const ABOUT = {
  openapi: '3.1.0',
  info: {
    title: 'Berth management API',
    version: '1',
    license: { name: 'Apache-2.0' },
    description:
      'An unsupported method is answered with 405, and OPTIONS on any path with 204. Both answers list the ' +
      'supported methods in Allow. Every path that supports GET also supports HEAD. A change that a page of ' +
      'another origin requests is answered with 403.',
  },
};

export function apiRoutes(): OpenAPIHono<AppEnv> {
  const api = new OpenAPIHono<AppEnv>({
    defaultHook: (result, c) => {
      if (result.success) return;
      const [issue] = result.error.issues;
      const field = issue?.path.join('.') ?? '';
      const message = `${field === '' ? 'the request' : field}: ${issue?.message ?? 'is invalid'}`;
      return errorResponse(new OciError('FIELD_INVALID', { message, detail: { field } }), c);
    },
  });
  api.onError((error, c) => errorResponse(error instanceof HTTPException ? notJson(error) : error, c));
  api.use('/api/*', noStore, authenticateCaller, smallBodiesOnly);
  api.use('/api/*', async (c, next) => {
    const takesJson = ['POST', 'PUT', 'PATCH'].includes(c.req.method);
    if (takesJson && c.req.raw.body !== null && !/^application\/json\b/.test(c.req.header('Content-Type') ?? ''))
      throw notJson();
    await next();
  });
  api.openAPIRegistry.registerComponent('securitySchemes', 'login', {
    type: 'http',
    scheme: 'basic',
    description: 'An administrator, or a credential of the organization with the admin right',
  });
  api.openAPIRegistry.registerComponent('securitySchemes', 'bootstrap', {
    type: 'http',
    scheme: 'bearer',
    description: 'The bootstrap secret, or base64 of <user>:<secret>',
  });
  callerRoutes(api);
  organizationRoutes(api);
  credentialRoutes(api);
  repositoryRoutes(api);
  repositoryListRoutes(api);
  tagRoutes(api);
  imageRoutes(api);
  importRoutes(api);
  mirrorRoutes(api);
  pinRoutes(api);
  replicationRoutes(api);
  seriesRoutes(api);
  pushRoutes(api);
  pullRoutes(api);
  maintenanceRoutes(api);
  deploymentRoutes(api);
  auditRoutes(api);
  // Anybody may ask for it, so it is built once.
  let document: string | undefined;
  api.get(DOCUMENT, (c) => {
    document ??= JSON.stringify(api.getOpenAPI31Document(ABOUT));
    return c.body(document, 200, { 'Content-Type': 'application/json' });
  });
  return api;
}

function notJson(cause?: Error): OciError {
  return new OciError('FIELD_INVALID', {
    message: 'the body must be JSON, with Content-Type: application/json',
    cause,
  });
}
