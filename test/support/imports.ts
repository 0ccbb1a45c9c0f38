/** Imports in the tests' runtime. */
import { listDurableObjectIds, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { importsOf } from '../../src/import/durable-object.ts';
import type { NewImport } from '../../src/import/import-state.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';

const HOUR = 3_600_000;

/** Adds an import that would begin in an hour. */
export async function startImport(name: string, id: string, fields: Partial<NewImport> = {}): Promise<void> {
  const organization = name as OrganizationName;
  const row = await env.DB_CENTRAL.prepare('SELECT created_at FROM organizations WHERE name = ?1').bind(name).first();
  await importsOf(env, organization).start(organization, {
    id,
    madeAt: Date.now() + HOUR,
    incarnation: Number(row?.['created_at']),
    request: {
      from: 'https://upstream.example',
      loginHost: undefined,
      repositories: ['app'],
      tags: ['*'],
      platforms: undefined,
      referrers: false,
      as: '*',
      isDry: false,
    },
    importer: { id: 'somebody', isStored: false, patterns: [`${name}/*`] },
    credential: undefined,
    ...fields,
  });
}

/** Ends all imports, before the stores are emptied. */
export async function stopImports(): Promise<void> {
  for (const id of await listDurableObjectIds(env.ORGANIZATION_IMPORTS)) {
    await runInDurableObject(env.ORGANIZATION_IMPORTS.get(id), async (_imports, { storage }) => {
      await storage.deleteAlarm();
      for (const table of ['imports', 'counts', 'repositories', 'tags', 'skipped'])
        storage.sql.exec(`DELETE FROM ${table}`);
      for (const table of ['blobs', 'uploads', 'present', 'manifests']) storage.sql.exec(`DELETE FROM ${table}`);
    });
  }
}
