/** Removes audit log entries that are older than the retention time. */
import { deleteOldAudit } from '../stores/organizations/audit-rows.ts';
import type { Task } from './round.ts';

/** Entries that one slice removes. */
const ENTRIES = 10_000;

export const auditLog: Task = {
  name: 'audit',
  at: 'every store',
  every: () => 0,
  async slice({ now, auditMilliseconds }, { database }) {
    const removed = await deleteOldAudit(database, now() - auditMilliseconds, ENTRIES);
    return removed === 0 ? undefined : { position: undefined, counts: { removed_audit_entries: removed } };
  },
};
