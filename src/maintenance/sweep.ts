/** Sweeping every store: what a request, or the feed, has left of it. Removals take turns, a slice each. */
import type { Store } from '../stores/store.ts';
import { sweepSlice, unsweptRemovals } from '../stores/deletion/sweep-rows.ts';
import type { GcContext } from './context.ts';

/** Removals that are known at once. */
const NAMES = 100;

/** Sweeps until nothing is left to sweep, or there is no more time. Can be killed anywhere, and repeated. */
export async function sweep({ mayGoOn, rest }: Pick<GcContext, 'mayGoOn' | 'rest'>, { database }: Store): Promise<void> {
  let last = '';
  for (;;) {
    const names = await unsweptRemovals(database, last, NAMES);
    if (names.length === 0 && last === '') return;
    for (const name of names) {
      if (!mayGoOn()) return;
      const begun = Date.now();
      await sweepSlice(database, name);
      await rest(Date.now() - begun);
    }
    last = names.length < NAMES ? '' : (names.at(-1) ?? '');
  }
}
