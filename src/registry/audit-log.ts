/** The audit log. It is one log, of which each store keeps a part. */
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import { OciError } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import type { BoundStatement } from '../stores/database.ts';
import { auditBefore, type AuditFilter, type AuditPosition } from '../stores/organizations/audit-page-rows.ts';
import {
  type Actor,
  audit,
  AUDIT_ACTIONS,
  type AuditAction,
  type AuditEntry,
  auditPrefetch,
  type AuditSubject,
} from '../stores/organizations/audit-rows.ts';
import { composeStore, composeStores } from './compose.ts';

export type { AuditAction };
export { AUDIT_ACTIONS };

export interface LoggedAction {
  /** The store that keeps the entry. */
  readonly store: StoreName;
  readonly entry: AuditEntry;
}

/** A place in the merged log, which is ordered by time, latest first, then by store, then by id, both descending. */
interface LogPosition {
  readonly store: StoreName;
  readonly entry: AuditPosition;
}

/** The entries that a page shows. Times are in milliseconds since the epoch. */
interface LogFilter extends AuditFilter {
  /** Undefined for all organizations. */
  readonly organization: OrganizationName | undefined;
  /** Undefined for all stores. */
  readonly store: StoreName | undefined;
  /** The time that every entry is before. */
  readonly before: number;
}

/** The most entries that a page looks at in each store, if only some of them match. */
const LOOKED_AT = 2000;

export class AuditLog {
  readonly #config: Config;
  readonly #env: object;

  constructor(config: Config, env: object) {
    this.#config = config;
    this.#env = env;
  }

  /**
   * Records an action that changes no row, and so has no transaction to write its entry in. Call it after the action
   * and before the caller is answered.
   * @param store the store that keeps the entry
   */
  async note(store: StoreName, action: AuditAction, about: AuditSubject, by: Actor, now: number): Promise<void> {
    await this.#write(store, audit(action, about, by, now));
  }

  /** Records a prefetch to a node, like {@link note}, but only once for the same image, actor and hour. */
  async notePrefetch(store: StoreName, about: AuditSubject, by: Actor, now: number): Promise<void> {
    await this.#write(store, auditPrefetch(about, by, now));
  }

  async #write(store: StoreName, entry: BoundStatement): Promise<void> {
    await composeStore(this.#config, this.#env, store)?.database.batch([entry]);
  }

  /**
   * Returns a page of the audit log, latest entry first. It may be short, or empty, although another page follows.
   * @param last the `last` of the previous page; undefined for the first page
   * @throws OciError FIELD_INVALID if `last` is malformed, or the store unknown; UNAVAILABLE if a store does not
   *   answer, because a log with gaps cannot be trusted
   */
  async page(
    { organization, store, before, ...filter }: LogFilter,
    last: string | undefined,
    limit: number,
  ): Promise<{ readonly entries: readonly LoggedAction[]; readonly last: string | undefined }> {
    const start = last === undefined ? undefined : positionIn(last);
    const stores = composeStores(this.#config, this.#env).filter(({ name }) => store === undefined || name === store);
    if (stores.length === 0) throw new OciError('FIELD_INVALID', { message: `store: there is no store ${store}` });
    const window = filter.by === '' && filter.action === '' ? limit + 1 : LOOKED_AT;
    const pages = await Promise.all(
      stores.map(async ({ name, database }) => {
        const { entries, end } = await auditBefore(
          database,
          organization,
          filter,
          startIn(name, start, before),
          window,
        );
        return {
          entries: entries.map((entry) => ({ store: name, entry })),
          end: end && { store: name, entry: end },
        };
      }),
    );
    // Before the latest of the ends, a store may have entries that it has not looked at.
    const horizon = pages
      .flatMap(({ end }) => end ?? [])
      .toSorted(compare)
      .at(-1);
    const merged = pages
      .flatMap(({ entries }) => entries)
      .filter((each) => horizon === undefined || compare(each, horizon) >= 0)
      .toSorted((a, b) => compare(b, a));
    const shown = merged.slice(0, limit);
    const end = merged.length > limit ? shown.at(-1) : horizon;
    return { entries: shown, last: end && `${end.entry.at}.${end.store}.${end.entry.id}` };
  }
}

function compare(a: LogPosition, b: LogPosition): number {
  if (a.entry.at !== b.entry.at) return a.entry.at - b.entry.at;
  if (a.store !== b.store) return a.store < b.store ? -1 : 1;
  return a.entry.id - b.entry.id;
}

/** Returns where the page of one store starts, given where the merged page starts. */
function startIn(store: StoreName, start: LogPosition | undefined, before: number): AuditPosition {
  if (start === undefined || start.entry.at >= before) return { at: before, id: 0 };
  if (store === start.store) return start.entry;
  // Within one millisecond, stores with smaller names come later.
  return { at: start.entry.at, id: store < start.store ? Number.MAX_SAFE_INTEGER : 0 };
}

function positionIn(last: string): LogPosition {
  const [, at, store = '', id] = /^(\d{1,15})\.([a-z0-9-]{1,64})\.(\d{1,15})$/.exec(last) ?? [];
  if (at !== undefined) return { store, entry: { at: Number(at), id: Number(id) } };
  throw new OciError('FIELD_INVALID', {
    message: 'last: must be the value that the previous page returned',
    detail: { field: 'last' },
  });
}
