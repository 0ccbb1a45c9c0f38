/** Imports in the tests' runtime. */
import { listDurableObjectIds, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { importsOf } from '../../src/import/durable-object.ts';
import type { NewImport } from '../../src/import/import-state.ts';
import type { ImportRequest } from '../../src/import/request.ts';
import type { ImportReport } from '../../src/import/report.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';

const HOUR = 3_600_000;

/** Adds an import that would begin in an hour. */
export async function startImport(
  name: string,
  id: string,
  { request = {}, ...fields }: Partial<Omit<NewImport, 'request'>> & { request?: Partial<ImportRequest> } = {},
): Promise<void> {
  const organization = name as OrganizationName;
  const row = await env.DB_CENTRAL.prepare('SELECT created_at FROM organizations WHERE name = ?1').bind(name).first();
  await importsOf(env, organization).start(organization, {
    id,
    madeAt: Date.now() + HOUR,
    incarnation: Number(row?.['created_at']),
    request: importRequest({ from: 'https://upstream.example', ...request }),
    importer: { id: 'somebody', isStored: false, patterns: [`${name}/*`] },
    credential: undefined,
    ...fields,
  });
}

/** Returns a request for an import of `app`, with other fields if they are given. */
export function importRequest(fields: Partial<ImportRequest>): ImportRequest {
  return {
    from: 'https://registry.example',
    loginHost: undefined,
    repositories: ['app'],
    tags: ['*'],
    platforms: undefined,
    referrers: false,
    as: '*',
    isDry: false,
    every: undefined,
    prunes: false,
    ...fields,
  };
}

/** Ends all imports, before the stores are emptied. */
export async function stopImports(): Promise<void> {
  for (const id of await listDurableObjectIds(env.ORGANIZATION_IMPORTS)) {
    await runInDurableObject(env.ORGANIZATION_IMPORTS.get(id), async (_imports, { storage }) => {
      await storage.deleteAlarm();
      for (const table of ['imports', 'counts', 'repositories', 'tags', 'skipped'])
        storage.sql.exec(`DELETE FROM ${table}`);
      for (const table of ['blobs', 'uploads', 'present', 'manifests', 'followed_tags'])
        storage.sql.exec(`DELETE FROM ${table}`);
    });
  }
}

/** Runs everything that is due of an organization's imports, as if every wait were over, and returns one import. */
export async function runImports(name: string, id: string): Promise<ImportReport> {
  const imports = importsOf(env, name as OrganizationName);
  await runInDurableObject(imports, async (_imports, { storage }) => {
    storage.sql.exec('UPDATE imports SET due_at = 0');
    await storage.setAlarm(Date.now() + HOUR);
  });
  await runDurableObjectAlarm(imports);
  const report = await runInDurableObject(imports, (of, { storage }) => {
    const [row] = storage.sql.exec('SELECT incarnation FROM imports WHERE id = ?', id).toArray();
    return of.report(id, Number(row?.['incarnation']));
  });
  if (report === undefined) throw new Error(`there is no import ${id}`);
  return report;
}
