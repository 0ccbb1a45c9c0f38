/** Removing what tags keep no more of their histories: too many entries, and too old ones. See `stores/manifests/tag-history.ts`. */
import type { Store } from '../stores/store.ts';
import { type HistoryKept, type TagPosition, tagsWithHistory, trimHistories } from '../stores/manifests/tag-history.ts';
import type { GcContext } from './context.ts';
import { goRound } from './round.ts';

const DAY = 24 * 3_600_000;
const TAGS = 50;
/** Entries that one slice removes. */
const ENTRIES = 1000;

/** One round a day. Can be killed anywhere, and repeated. @param kept as of when a slice runs */
export async function removeOldHistories(context: GcContext, store: Store, kept: () => HistoryKept): Promise<void> {
  await goRound(store, 'histories', DAY, context, async (position) => {
    const from: TagPosition = position === '' ? { repository: '', name: '' } : JSON.parse(position);
    const page = await tagsWithHistory(store.database, from, TAGS);
    if (page.length === 0) return { position: undefined };
    const removed = await trimHistories(store.database, page, kept(), ENTRIES);
    // There may be more of the same tags.
    if (removed === ENTRIES) return { position: JSON.stringify(from) };
    return { position: page.length < TAGS ? undefined : JSON.stringify(page.at(-1)) };
  });
}
