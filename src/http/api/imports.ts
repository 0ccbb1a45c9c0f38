/** Imports: repositories of another registry are copied into an organization. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { administeredPatterns, includesAll } from '../../auth/delegation.ts';
import { Imports, type ImportReport, type ImportRequest, type ImportSummary } from '../../import/imports.ts';
import { OciError } from '../../oci/errors.ts';
import type { OrganizationName } from '../../oci/reference.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { recordImport } from './audit.ts';
import { requireAdministratorOf, requireValidAt } from './caller.ts';
import { body, describe, json } from './describe.ts';
import { waitQuery } from './image-schemas.ts';
import { importParam, importReport, importSummary, newImport } from './import-schemas.ts';
import { organizationParam } from './schemas.ts';
import { SharedLooks } from './shared-looks.ts';

const IMPORTS = '/api/organizations/{organization}/imports';
const IMPORT = `${IMPORTS}/{import}` as const;

export function importRoutes(api: OpenAPIHono<AppEnv>): void {
  const start = describe(
    'post',
    IMPORTS,
    'Copy repositories of another registry into the organization, once or in step',
    { params: organizationParam, ...body(newImport) },
    {
      202: {
        description: 'The import runs at central. It skips repositories that the caller may not push to',
        ...json(importReport),
      },
    },
  );
  api.openapi(start, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    requireValidAt(c, ['central']);
    const { credential, ...asked } = c.req.valid('json');
    const report = await importsOf(c, organization).start(
      requestOf(asked, credential?.login_host),
      c.get('caller'),
      credential && { user: credential.user, secret: credential.secret },
    );
    await recordImport(c, 'start import', organization, report.id);
    return c.json(view(report), 202);
  });

  const list = describe(
    'get',
    IMPORTS,
    'List the unfinished imports, then those that ended within 30 days',
    { params: organizationParam },
    { 200: { description: 'At most 100', ...json(z.object({ imports: z.array(importSummary) })) } },
  );
  api.openapi(list, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const reports = await importsOf(c, organization).list();
    const shown = reports.filter((each) => mayManage(c, organization, each)).map(summary);
    return c.json({ imports: shown }, 200);
  });

  const looks = new SharedLooks<ImportReport>();
  const get = describe(
    'get',
    IMPORT,
    'Show the progress of an import, or wait for its end',
    { params: importParam, query: waitQuery },
    { 200: { description: 'Its counts, and the repositories and images that it skipped', ...json(importReport) } },
  );
  api.openapi(get, async (c) => {
    const { organization, import: id } = c.req.valid('param');
    const { wait } = c.req.valid('query');
    const look = (): Promise<ImportReport> => manageable(c, organization, id);
    return c.json(
      view(await looks.until(`${organization}/${id}`, look, ({ state }) => state !== 'running', wait)),
      200,
    );
  });

  const cancel = describe(
    'delete',
    IMPORT,
    'Cancel an import, and keep its copies',
    { params: importParam },
    { 200: { description: 'The import has ended', ...json(importReport) } },
  );
  api.openapi(cancel, async (c) => {
    const { organization, import: id } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    requireValidAt(c, ['central']);
    const { endedAt } = await manageable(c, organization, id);
    const report = await importsOf(c, organization).cancel(id);
    if (endedAt === undefined) await recordImport(c, 'cancel import', organization, id);
    return c.json(view(report), 200);
  });
}

function requestOf(asked: Omit<z.infer<typeof newImport>, 'credential'>, loginHost: string | undefined): ImportRequest {
  const { from, repositories, tags, platforms, referrers, as, dry_run: isDry, prune: prunes } = asked;
  const every = asked.every_seconds === undefined ? undefined : asked.every_seconds * 1000;
  return { from, loginHost, repositories, tags, platforms, referrers, as, isDry, every, prunes };
}

/** Returns an import that the caller may see. @throws OciError DENIED, NOT_FOUND */
async function manageable(c: AppContext, organization: OrganizationName, id: string): Promise<ImportReport> {
  requireAdministratorOf(c, organization);
  const report = await importsOf(c, organization).report(id);
  if (mayManage(c, organization, report)) return report;
  throw new OciError('NOT_FOUND', { message: `there is no import ${id}` });
}

/** Returns whether a caller may see an import: its own, or one that writes only where the caller may manage. */
function mayManage(c: AppContext, organization: OrganizationName, { importer }: ImportSummary): boolean {
  const delegate = c.get('delegate');
  const isOwn = importer.id === delegate.credential.id;
  return isOwn || includesAll(administeredPatterns(delegate, organization), importer.patterns);
}

function importsOf(c: AppContext, organization: OrganizationName): Imports {
  return new Imports(c.get('runtime').config, c.env, organization);
}

function timeOf(at: number | undefined): string | null {
  return at === undefined ? null : formatTime(at);
}

function view(report: ImportReport): z.infer<typeof importReport> {
  return { ...summary(report), report: report.report.map((each) => ({ ...each })) };
}

function summary(report: ImportSummary): z.infer<typeof importSummary> {
  const { id, state, madeAt, endedAt, waitsUntil, request, skipped } = report;
  return {
    id,
    state,
    error: report.error ?? null,
    created_at: formatTime(madeAt),
    ended_at: timeOf(endedAt),
    waits_until: timeOf(waitsUntil),
    every_seconds: request.every === undefined ? null : request.every / 1000,
    last_run_at: timeOf(report.lastRunAt),
    next_run_at: timeOf(report.nextRunAt),
    from: request.from,
    prune: request.prunes,
    dry_run: request.isDry,
    repositories: { ...report.repositories },
    tags: { ...report.tags },
    removed: report.removed,
    manifests: { ...report.manifests },
    blobs: { ...report.blobs },
    bytes: { ...report.bytes },
    skipped,
  };
}
