/**
 * Trims the histories of tags: removes entries that are too old, or beyond the number that a tag keeps. See
 * `stores/manifests/tag-history.ts`.
 */
import { DAY } from '../durations.ts';
import { type TagPosition, tagsWithHistory, trimHistories } from '../stores/manifests/tag-history.ts';
import type { Task } from './round.ts';

/** Tags that one slice looks at. */
const TAGS = 50;
/** Entries that one slice removes. */
const ENTRIES = 1000;

export const histories: Task = {
  name: 'histories',
  at: 'every store',
  every: () => DAY,
  async slice({ now, limits, historyMilliseconds }, { database }, { position }) {
    const from: TagPosition = position === '' ? { repository: '', name: '' } : JSON.parse(position);
    const page = await tagsWithHistory(database, from, TAGS);
    if (page.length === 0) return { position: undefined };
    const kept = { entries: limits.historyEntries, since: now() - historyMilliseconds };
    const removed = await trimHistories(database, page, kept, ENTRIES);
    // The same tags may have more to remove.
    if (removed === ENTRIES) return { position: JSON.stringify(from) };
    return { position: page.length < TAGS ? undefined : JSON.stringify(page.at(-1)) };
  },
};
