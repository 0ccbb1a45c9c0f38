/** Announces a node's outbox entries: their rows are merged at central, and central's newer rows come back. */
import { chunksOf, readManifests } from '../stores/manifests/manifest-records.ts';
import { readToAnnounce, announceTo, type AnnouncedManifest, news } from './announcement-rows.ts';
import { leaseTimes } from '../stores/blob-rows.ts';
import { raiseClock } from '../stores/clock.ts';
import { deleteOutboxEntries, type OutboxEntry } from '../stores/outbox-rows.ts';
import { mergeRows, type TagRow } from '../stores/merge.ts';
import { leaveToCentral, putCentralUsage } from '../stores/organizations/usage-rows.ts';
import type { Pair } from './pair.ts';

/**
 * Announces outbox entries, after everything that has to be announced before them. An outbox entry is deleted only if
 * it still has the version that was read, so that a change made in the meantime is announced as well.
 * @returns the outbox entries that were announced
 */
export async function announce(pair: Pair, outboxEntries: readonly OutboxEntry[]): Promise<OutboxEntry[]> {
  const { node, central, now, graceMilliseconds, limits } = pair;
  const { tags, manifests } = await readToAnnounce(node.database, outboxEntries);
  const announced: OutboxEntry[] = [];
  const send = async (
    heads: readonly AnnouncedManifest[],
    withTags: readonly TagRow[],
    done: readonly OutboxEntry[],
  ): Promise<void> => {
    const whole = await readManifests(node.database, node.name, heads);
    const sent = { store: node.name, tags: withTags, ...whole };
    const lease = leaseTimes(now(), graceMilliseconds);
    const reply = await announceTo(central, sent, now(), lease.until, limits);
    const { tags: newTags, lifecycles } = news(reply, sent);
    await node.database.batch([
      ...(newTags.length + lifecycles.length > 0
        ? mergeRows({ tags: newTags, lifecycles, manifests: [], blobs: [] }, now())
        : []),
      // Central now counts these towards the organization's usage, so the node stops counting them.
      ...leaveToCentral(reply.lifecycles, reply.tags),
      ...putCentralUsage(reply.usage),
      raiseClock(reply.clock),
      deleteOutboxEntries(done),
    ]);
    announced.push(...done);
  };
  const chunks = chunksOf(manifests);
  const last = chunks.pop() ?? [];
  // Tags are sent with the last chunk, so an entry that also stands for a tag is done only then.
  const doneBefore = new Set<string>();
  for (const chunk of chunks) {
    const done = chunk.filter(({ hasTag }) => !hasTag).map(({ outboxEntry }) => outboxEntry);
    await send(chunk, [], done);
    for (const outboxEntry of done) doneBefore.add(nameOf(outboxEntry));
  }
  // The rows were read after the page of outbox entries, so for a manifest use the entry that was read with its row.
  const withLast = new Map(
    [...outboxEntries, ...manifests.map(({ outboxEntry }) => outboxEntry)].map((outboxEntry) => [
      nameOf(outboxEntry),
      outboxEntry,
    ]),
  );
  await send(
    last,
    tags,
    [...withLast.values()].filter((outboxEntry) => !doneBefore.has(nameOf(outboxEntry))),
  );
  return announced;
}

function nameOf({ kind, repository, key }: OutboxEntry): string {
  return `${kind} ${repository} ${key}`;
}
