/** Shows administrators the parts of a deployment, and which of them are ready. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { registriesOf, secretsOf, storesOf } from '../../registry/deployment.ts';
import type { AppEnv } from '../context.ts';
import { requireAdministrator } from './caller.ts';
import { describe, json } from './describe.ts';

const health = z.enum(['ok', 'unavailable']);

const deployment = z
  .object({
    registries: z.array(
      z.object({
        name: z.string().openapi({ description: '"central", or the name of a node' }),
        hosts: z.array(z.string()).openapi({
          description: 'As in the configuration: a host name, <host>:<port>, or :<port> for any name',
        }),
        store: z.string(),
      }),
    ),
    stores: z.array(
      z.object({
        store: z.string(),
        database: health,
        bucket: health,
        missing_migrations: z.array(z.string()).nullable().openapi({
          description: "Migrations of the deployed code that the database lacks; null if that can't be read",
        }),
      }),
    ),
    secrets: z.array(z.string()).openapi({ description: 'The names of the secrets that are set' }),
  })
  .openapi('Deployment');

export function deploymentRoutes(api: OpenAPIHono<AppEnv>): void {
  const get = describe(
    'get',
    '/api/deployment',
    'Show the registries with their hosts, the state of every store, and which secrets are set',
    {},
    { 200: { description: 'The deployment', ...json(deployment) } },
  );
  api.openapi(get, async (c) => {
    requireAdministrator(c);
    const { config } = c.get('runtime');
    const stores = await storesOf(config, c.env);
    return c.json({ registries: registriesOf(config), stores, secrets: secretsOf(config) }, 200);
  });
}
