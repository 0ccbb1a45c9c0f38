/** The audit log. */
import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import { DAY } from '../../durations.ts';
import { auditEntry } from '../../http/api/audit.ts';
import type { AuditEntry } from '../answers.ts';
import { Next, Table, Time } from '../components.tsx';
import type { ConsoleContext, ConsoleEnv, SignedIn } from '../context.ts';
import { Page } from '../layout.tsx';
import { apiOrganization, withQuery } from '../paths.ts';
import { ifSoon } from '../registry-client.ts';

interface AuditPage {
  readonly entries: readonly AuditEntry[];
  readonly last: string | null;
}

/** The fields of the form, each '' for any. `from` and `to` are days in UTC. */
const FIELDS = ['organization', 'by', 'action', 'store', 'from', 'to'] as const;
type Filter = Readonly<Record<(typeof FIELDS)[number], string>>;

/** The most entries, and the most pages of the API, that a download reads. */
const [DOWNLOADED, PAGES] = [1000, 10];

export function auditPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/audit', async (c) => {
    const reader = c.get('reader');
    const filter = filterIn(c);
    const page = await ifSoon(read(reader, filter, 100, c.req.query('last') ?? ''));
    return c.html(
      <Page title="Audit" reader={reader} section="/audit">
        <FilterForm reader={reader} filter={filter} />
        <p>
          Download the latest 1,000 as <a href={withQuery('/audit.csv', filter)}>CSV</a> or{' '}
          <a href={withQuery('/audit.json', filter)}>JSON</a>
        </p>
        <Table
          caption="Changes and refused logins, latest first"
          columns={['When', 'What', 'Organization', 'Repository', 'Key', 'By', 'Host', 'Store', 'Times']}
          rows={(page?.entries ?? []).map((entry) =>
            cellsOf(entry).map((cell, i) => (i === 0 ? <Time at={entry.at} /> : cell)),
          )}
          empty={emptyText(filter, page)}
        />
        <Next path="/audit" query={filter} last={page?.last} />
      </Page>,
    );
  });

  pages.get('/audit.csv', async (c) => {
    const lines = [
      ['at', 'action', 'organization', 'repository', 'key', 'by', 'host', 'store', 'count'],
      ...(await latest(c)).map(cellsOf),
    ];
    c.header('Content-Type', 'text/csv; charset=utf-8');
    c.header('Content-Disposition', 'attachment; filename="audit.csv"');
    return c.body(lines.map((cells) => `${cells.map(quoted).join(',')}\r\n`).join(''));
  });

  pages.get('/audit.json', async (c) => {
    const entries = await latest(c);
    c.header('Content-Disposition', 'attachment; filename="audit.json"');
    return c.json(entries);
  });
  return pages;
}

const FilterForm: FC<{ reader: SignedIn; filter: Filter }> = ({ reader, filter }) => (
  <form class="inline">
    {reader.caller.kind === 'administrator' && (
      <label>
        Organization
        <input name="organization" value={filter.organization} />
      </label>
    )}
    <label>
      Credential
      <input name="by" value={filter.by} />
    </label>
    <label>
      Action
      <select name="action">
        <option value="">any</option>
        {auditEntry.shape.action.options.map((action) => (
          <option selected={action === filter.action}>{action}</option>
        ))}
      </select>
    </label>
    <label>
      Store
      <input name="store" value={filter.store} />
    </label>
    <label>
      From (UTC)
      <input name="from" type="date" value={filter.from} />
    </label>
    <label>
      To (UTC)
      <input name="to" type="date" value={filter.to} />
    </label>
    <button type="submit">Show</button>
  </form>
);

function filterIn(c: ConsoleContext): Filter {
  return Object.fromEntries(FIELDS.map((name) => [name, c.req.query(name)?.trim() ?? ''])) as Filter;
}

function emptyText(filter: Filter, page: AuditPage | undefined): string {
  if (page === undefined) return 'A store does not answer. The log is shown only if it is complete.';
  if (page.last !== null) return 'None of the latest entries match. The next page looks at earlier ones.';
  return FIELDS.some((name) => filter[name] !== '') ? 'No entry matches.' : 'Nothing has been changed yet.';
}

/** Reads a page. @throws RegistryError */
function read({ registry, caller }: SignedIn, filter: Filter, n: number, last: string): Promise<AuditPage> {
  const { organization, by, action, store, from, to } = filter;
  const of = caller.kind === 'administrator' ? organization : (caller.organization ?? '');
  const path = of === '' ? '/api/audit' : `${apiOrganization(of)}/audit`;
  const times = { from: from && `${from}T00:00:00Z`, before: to && dayAfter(to) };
  return registry.get(path, { n, last, by, action, store, ...times });
}

/** Reads the latest entries that match. @throws RegistryError */
async function latest(c: ConsoleContext): Promise<readonly AuditEntry[]> {
  const filter = filterIn(c);
  const entries: AuditEntry[] = [];
  let last: string | null = '';
  for (let pages = 0; last !== null && pages < PAGES && entries.length < DOWNLOADED; pages++) {
    const page: AuditPage = await read(c.get('reader'), filter, DOWNLOADED - entries.length, last);
    entries.push(...page.entries);
    last = page.last;
  }
  return entries;
}

/** Returns the start of the next day. Any other text is returned as it is, so that the API refuses it. */
function dayAfter(day: string): string {
  const at = Date.parse(`${day}T00:00:00Z`);
  return Number.isNaN(at) ? day : new Date(at + DAY).toISOString();
}

/** Returns who acted: a credential, the hashed address of a refused login, or Berth's own maintenance. */
export function actorOf({ action, by, address }: AuditEntry): string {
  if (action === 'refuse login') return address ?? 'unknown';
  return by?.name ?? by?.id ?? 'maintenance';
}

function cellsOf(entry: AuditEntry): string[] {
  const { at, action, organization, repository, key, host, store, count } = entry;
  const about = [organization ?? '', repository ?? '', key ?? ''];
  return [at, action, ...about, actorOf(entry), host ?? '', store, String(count)];
}

/** Quotes a cell, so that no spreadsheet runs it as a formula (OWASP, "CSV Injection"). */
function quoted(cell: string): string {
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return `"${text.replaceAll('"', '""')}"`;
}
