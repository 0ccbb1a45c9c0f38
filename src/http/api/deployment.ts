/** Shows administrators the parts of a deployment, and which of them are ready. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { registriesOf, secretsOf, storesOf } from '../../registry/deployment.ts';
import type { AppEnv } from '../context.ts';
import { requireAdministrator } from './caller.ts';
import { describe, json } from './describe.ts';
import { deployment } from './schemas.ts';

export function deploymentRoutes(api: OpenAPIHono<AppEnv>): void {
  const get = describe(
    'get',
    '/api/deployment',
    'Show the registries and the console with their hosts, the state of every store, and which secrets are set',
    {},
    { 200: { description: 'The deployment', ...json(deployment) } },
  );
  api.openapi(get, async (c) => {
    requireAdministrator(c);
    const { config } = c.get('runtime');
    const stores = await storesOf(config, c.env);
    return c.json(
      { registries: registriesOf(config), stores, secrets: secretsOf(config), console: [...config.consoleHosts] },
      200,
    );
  });
}
