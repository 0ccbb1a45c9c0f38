/** Following central's feed: deletions and control data come down to a node. */
import { readFeed } from '../stores/feed-rows.ts';
import { applyFeed, positionOf, takeSnapshot } from '../stores/followed.ts';
import type { Pair } from './pair.ts';

const ENTRIES = 200;

/** Applies what the feed has beyond the node's position, and tells central how far it has come. Answers how many entries, and whether that is all. */
export async function follow({ node, central, now }: Pair, mayGoOn: () => boolean): Promise<{ applied: number; atEnd: boolean }> {
  if ((await positionOf(node.database, node.name)) === undefined) await takeSnapshot(central.database, node, now());
  let applied = 0;
  while (mayGoOn()) {
    const position = (await positionOf(node.database, node.name)) ?? 0;
    const entries = await readFeed(central.database, node.name, position, ENTRIES, now());
    await node.database.batch(applyFeed(node.name, central.name, position, entries, now()));
    applied += entries.length;
    if (entries.length === 0) return { applied, atEnd: true };
  }
  return { applied, atEnd: false };
}
