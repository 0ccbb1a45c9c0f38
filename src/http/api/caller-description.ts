/** `GET /api/caller`: the caller's own credential, and the registries where it is valid. */
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { namespaceName } from '../../namespaces/namespace.ts';
import type { AppEnv } from '../context.ts';
import { reachableHost } from '../reachable-host.ts';
import { formatTime } from './administration.ts';
import { registryNames } from './caller.ts';
import { describe, json } from './describe.ts';
import { caller } from './schemas.ts';

export function callerRoutes(api: OpenAPIHono<AppEnv>): void {
  const get = describe(
    'get',
    '/api/caller',
    'Show the rights of the credential that the request logs in with, and where it is valid',
    {},
    { 200: { description: 'The credential', ...json(caller) } },
  );
  api.openapi(get, (c) => {
    const { credential, registries, expiresAt } = c.get('delegate');
    const { hosts } = c.get('runtime').config;
    const hostOf = (name: string): string => {
      const of = hosts.filter(({ namespace }) => namespaceName(namespace) === name).map(({ host }) => host);
      return reachableHost(of, c.get('url').hostname) ?? '';
    };
    const names = registryNames(c).filter((name) => registries === null || registries.includes(name));
    const isOfOrganization = credential.kind === 'organization';
    const shown: z.infer<typeof caller> = {
      kind: credential.kind,
      organization: isOfOrganization ? credential.organization : null,
      rights: isOfOrganization ? [...credential.rights] : [],
      repositories: isOfOrganization ? [...credential.repositories] : [],
      registries: names.map((name) => ({ name, host: hostOf(name) })),
      expires_at: expiresAt === undefined ? null : formatTime(expiresAt),
    };
    return c.json(shown, 200);
  });
}
