/** The audit log. It is one log, of which each store keeps a part. */
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import { OciError } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import type { BoundStatement } from '../stores/database.ts';
import {
  type Actor,
  audit,
  AUDIT_ACTIONS,
  type AuditAction,
  auditBefore,
  type AuditEntry,
  type AuditPosition,
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
interface LogPosition extends AuditPosition {
  readonly store: StoreName;
}

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
   * Returns a page of the audit log, latest entry first, of one organization or of all.
   * @param since when the organization was created, in milliseconds since the epoch
   * @param last the `last` of the previous page; undefined for the first page
   * @throws OciError FIELD_INVALID if `last` is malformed; UNAVAILABLE if a store does not answer, because a log with
   *   gaps cannot be trusted
   */
  async page(
    organization: OrganizationName | undefined,
    since: number,
    last: string | undefined,
    limit: number,
  ): Promise<{ readonly entries: readonly LoggedAction[]; readonly last: string | undefined }> {
    const from = last === undefined ? undefined : positionIn(last);
    const pages = await Promise.all(
      composeStores(this.#config, this.#env).map(async ({ name, database }) => {
        const entries = await auditBefore(database, organization, since, startIn(name, from), limit + 1);
        return entries.map((entry) => ({ store: name, entry }));
      }),
    );
    const merged = pages.flat().toSorted((a, b) => compare(b, a));
    const entries = merged.slice(0, limit);
    const end = entries.at(-1);
    const more = merged.length > limit && end !== undefined;
    return { entries, last: more ? `${end.entry.at}.${end.store}.${end.entry.id}` : undefined };
  }
}

function compare(a: LoggedAction, b: LoggedAction): number {
  if (a.entry.at !== b.entry.at) return a.entry.at - b.entry.at;
  if (a.store !== b.store) return a.store < b.store ? -1 : 1;
  return a.entry.id - b.entry.id;
}

/** Returns where the page of one store starts, given where the merged page starts. */
function startIn(store: StoreName, from: LogPosition | undefined): AuditPosition {
  if (from === undefined) return { at: Number.MAX_SAFE_INTEGER, id: 0 };
  if (store === from.store) return from;
  // Within one millisecond, stores with smaller names come later.
  return { at: from.at, id: store < from.store ? Number.MAX_SAFE_INTEGER : 0 };
}

function positionIn(last: string): LogPosition {
  const [, at, store = '', id] = /^(\d{1,15})\.([a-z0-9-]{1,64})\.(\d{1,15})$/.exec(last) ?? [];
  if (at !== undefined) return { at: Number(at), store, id: Number(id) };
  throw new OciError('FIELD_INVALID', {
    message: 'last: must be the value that the previous page returned',
    detail: { field: 'last' },
  });
}
