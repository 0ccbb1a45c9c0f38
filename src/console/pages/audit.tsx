/** The audit log. */
import { Hono } from 'hono';
import type { AuditEntry } from '../answers.ts';
import { Next, Table, Time } from '../components.tsx';
import type { ConsoleContext, ConsoleEnv } from '../context.ts';
import { Page } from '../layout.tsx';
import { apiOrganization, withQuery } from '../paths.ts';
import { ifSoon } from '../registry-client.ts';

interface AuditPage {
  readonly entries: readonly AuditEntry[];
  readonly last: string | null;
}

export function auditPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/audit', async (c) => {
    const reader = c.get('reader');
    const organization = c.req.query('organization') ?? '';
    const page = await ifSoon(read(c, organization, 100));
    return c.html(
      <Page title="Audit" reader={reader} section="/audit">
        {reader.caller.kind === 'administrator' && (
          <form class="inline">
            <label>
              Organization
              <input name="organization" value={organization} />
            </label>
            <button type="submit">Show</button>
          </form>
        )}
        <p>
          Download the latest 1,000 as <a href={withQuery('/audit.csv', { organization })}>CSV</a> or{' '}
          <a href={withQuery('/audit.json', { organization })}>JSON</a>
        </p>
        <Table
          caption="Changes and refused logins, latest first"
          columns={['When', 'What', 'Organization', 'Repository', 'Key', 'By', 'Host', 'Times']}
          rows={(page?.entries ?? []).map((entry) =>
            cellsOf(entry).map((cell, i) => (i === 0 ? <Time at={entry.at} /> : cell)),
          )}
          empty={
            page ? 'Nothing has been changed yet.' : 'A store does not answer. The log is shown only if it is complete.'
          }
        />
        <Next path="/audit" query={{ organization }} last={page?.last} />
      </Page>,
    );
  });

  pages.get('/audit.csv', async (c) => {
    const { entries } = await read(c, c.req.query('organization') ?? '', 1000);
    const lines = [
      ['at', 'action', 'organization', 'repository', 'key', 'by', 'host', 'count'],
      ...entries.map(cellsOf),
    ];
    c.header('Content-Type', 'text/csv; charset=utf-8');
    c.header('Content-Disposition', 'attachment; filename="audit.csv"');
    return c.body(lines.map((cells) => `${cells.map(quoted).join(',')}\r\n`).join(''));
  });

  pages.get('/audit.json', async (c) => {
    const { entries } = await read(c, c.req.query('organization') ?? '', 1000);
    c.header('Content-Disposition', 'attachment; filename="audit.json"');
    return c.json(entries);
  });
  return pages;
}

function read(c: ConsoleContext, organization: string, n: number): Promise<AuditPage> {
  const { registry, caller } = c.get('reader');
  const of = caller.kind === 'administrator' ? organization : (caller.organization ?? '');
  const path = of === '' ? '/api/audit' : `${apiOrganization(of)}/audit`;
  return registry.get(path, { n, last: c.req.query('last') ?? '' });
}

/** Returns who acted: a credential, the hashed address of a refused login, or Berth's own maintenance. */
export function actorOf({ action, by, address }: AuditEntry): string {
  if (action === 'refuse login') return address ?? 'unknown';
  return by?.name ?? by?.id ?? 'maintenance';
}

function cellsOf(entry: AuditEntry): string[] {
  const { at, action, organization, repository, key, host, count } = entry;
  return [at, action, organization ?? '', repository ?? '', key ?? '', actorOf(entry), host ?? '', String(count)];
}

/** Quotes a cell, so that no spreadsheet runs it as a formula (OWASP, "CSV Injection"). */
function quoted(cell: string): string {
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return `"${text.replaceAll('"', '""')}"`;
}
