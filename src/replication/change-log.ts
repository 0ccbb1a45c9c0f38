/**
 * Applies central's change log at a node. The log brings down deletions and control data, and each page of it comes
 * with the usage of organizations at central.
 */
import type { Database } from '../stores/database.ts';
import { type ChangeLogEntry, readChangeLog } from '../stores/change-log-rows.ts';
import { applyChangeLog, changeLogStateOf, takeSnapshot } from './apply-changes.ts';
import { sweepSlice, unsweptRemovals } from '../stores/deletion/sweep-rows.ts';
import { applyUsage } from '../stores/organizations/usage-rows.ts';
import type { Pair } from './pair.ts';

/** The most entries of the change log, and the most changes of usage, in one page. */
const ENTRIES = 200;

/** The kinds of entries that delete something. */
const DELETIONS: ReadonlySet<ChangeLogEntry['kind']> = new Set(['tag', 'manifest', 'link', 'repository']);

/** The most removals that are swept after a page is applied. */
const SWEPT = 10;

/** Sweeps one slice of each of some removals. One slice covers most removals, and maintenance does the rest. */
async function sweepSome(node: Database): Promise<void> {
  for (const name of await unsweptRemovals(node, '', SWEPT)) await sweepSlice(node, name);
}

/**
 * Applies the entries of the change log after the node's position, and tells central the node's new position.
 * @returns how many entries were applied, how many of these delete something, and whether no more are left
 */
export async function applyChanges(
  { node, central, now }: Pair,
  mayGoOn: () => boolean,
): Promise<{ applied: number; deletions: number; atEnd: boolean }> {
  if ((await changeLogStateOf(node.database, node.name)) === undefined)
    await takeSnapshot(central.database, node, now());
  let [applied, deletions] = [0, 0];
  while (mayGoOn()) {
    const from = (await changeLogStateOf(node.database, node.name)) ?? { position: 0, usageChanged: undefined };
    const { entries, usage } = await readChangeLog(central.database, node.name, from, ENTRIES, now());
    await node.database.batch([
      ...applyChangeLog(node.name, central.name, from.position, entries, now()),
      ...applyUsage(node.name, from.usageChanged, usage),
    ]);
    if (entries.some(({ kind }) => kind === 'repository')) await sweepSome(node.database);
    applied += entries.length;
    deletions += entries.filter(({ kind }) => DELETIONS.has(kind)).length;
    if (entries.length === 0 && usage.length < ENTRIES) return { applied, deletions, atEnd: true };
  }
  return { applied, deletions, atEnd: false };
}
