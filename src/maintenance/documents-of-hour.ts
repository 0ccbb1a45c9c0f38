/** Notes at the start of each hour how many documents central has had, for the chart of pushes. */
import { HOUR } from '../durations.ts';
import { noteDocuments } from '../stores/manifests/documents-by-hour-rows.ts';
import type { Task } from './round.ts';

export const documentsOfHour: Task = {
  name: 'documents',
  at: 'central',
  // Due again when the next hour begins.
  every: ({ now }) => HOUR - (now() % HOUR),
  async slice({ now }, { database }) {
    return (await noteDocuments(database, now())) ? { position: undefined } : undefined;
  },
};
