/**
 * Following central: deletions and control data come down to a node by its change log, and with it what organizations
 * use there.
 */
import type { Database } from '../stores/database.ts';
import { readChangeLog } from '../stores/change-log-rows.ts';
import { applyChangeLog, changeLogStateOf, takeSnapshot } from './apply-changes.ts';
import { sweepSlice, unsweptRemovals } from '../stores/deletion/sweep-rows.ts';
import { applyUsage } from '../stores/organizations/usage-rows.ts';
import type { Pair } from './pair.ts';

/** Entries of a page, and changes of use. */
const ENTRIES = 200;

/** Removals that are swept at once. */
const SWEPT = 10;

/** A slice of some removals, which is all of most: maintenance does the rest. */
async function sweepSome(node: Database): Promise<void> {
  for (const name of await unsweptRemovals(node, '', SWEPT)) await sweepSlice(node, name);
}

/**
 * Applies what the change log has beyond the node's position, and tells central how far it has come. Answers how many
 * entries, and whether that is all.
 */
export async function applyChanges(
  { node, central, now }: Pair,
  mayGoOn: () => boolean,
): Promise<{ applied: number; atEnd: boolean }> {
  if ((await changeLogStateOf(node.database, node.name)) === undefined)
    await takeSnapshot(central.database, node, now());
  let applied = 0;
  while (mayGoOn()) {
    const from = (await changeLogStateOf(node.database, node.name)) ?? { position: 0, usageChanged: undefined };
    const { entries, usage } = await readChangeLog(central.database, node.name, from, ENTRIES, now());
    await node.database.batch([
      ...applyChangeLog(node.name, central.name, from.position, entries, now()),
      ...applyUsage(node.name, from.usageChanged, usage),
    ]);
    if (entries.some(({ kind }) => kind === 'repository')) await sweepSome(node.database);
    applied += entries.length;
    if (entries.length === 0 && usage.length < ENTRIES) return { applied, atEnd: true };
  }
  return { applied, atEnd: false };
}
