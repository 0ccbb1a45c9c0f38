/** Records the number of documents that central has had, at the start of each hour, for the chart of pushes. */
import { HOUR } from '../durations.ts';
import { noteDocuments } from '../stores/manifests/documents-by-hour-rows.ts';
import type { Task } from './round.ts';

export const documentsOfHour: Task = {
  name: 'documents',
  at: 'central',
  every: () => 0,
  async slice({ now }, { database }) {
    const hour = Math.floor(now() / HOUR);
    await noteDocuments(database, hour);
    return { position: undefined, notBefore: (hour + 1) * HOUR };
  },
};
