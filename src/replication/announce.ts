/** Announcing: a node's outbox entries become rows at central, and what central knows better comes back. */
import { readManifests } from '../stores/manifests/manifest-records.ts';
import { readMarked, announceTo, type AnnouncedManifest, news } from './announcement-rows.ts';
import { leaseTimes } from '../stores/blob-rows.ts';
import { raiseClock } from '../stores/clock.ts';
import { deleteOutboxEntries, type OutboxEntry } from '../stores/outbox-rows.ts';
import { mergeRows, type TagRow } from '../stores/merge.ts';
import { leaveTagsToCentral, leaveToCentral, putCentralUsage } from '../stores/organizations/usage-rows.ts';
import type { Pair } from './pair.ts';

/** What one transaction at central takes: bytes of manifests, and how many of them. */
const CHUNK_BYTES = 1_000_000;
const CHUNK_MANIFESTS = 100;

/**
 * Announces outbox entries, and what has to be announced before them. Each outbox entry goes only if it still has the
 * version that was read, so that a change which came meanwhile is announced as well.
 * @returns the outbox entries that went
 */
export async function announce(pair: Pair, outboxEntries: readonly OutboxEntry[]): Promise<OutboxEntry[]> {
  const { node, central, now, graceMilliseconds, limits } = pair;
  const { tags, manifests } = await readMarked(node.database, outboxEntries);
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
      // What central counts from here on is not counted here as well.
      ...leaveToCentral(reply.lifecycles),
      ...leaveTagsToCentral(reply.tags),
      ...putCentralUsage(reply.usage),
      raiseClock(reply.clock),
      deleteOutboxEntries(done),
    ]);
    announced.push(...done);
  };
  const chunks = chunksOf(manifests);
  for (const chunk of chunks.slice(0, -1)) {
    await send(
      chunk,
      [],
      chunk.map(({ outboxEntry }) => outboxEntry),
    );
  }
  const last = chunks.at(-1) ?? [];
  const sentBefore = new Set(
    chunks.slice(0, -1).flatMap((chunk) => chunk.map(({ outboxEntry }) => nameOf(outboxEntry))),
  );
  const withLast = new Map(
    [...outboxEntries, ...last.map(({ outboxEntry }) => outboxEntry)].map((outboxEntry) => [
      nameOf(outboxEntry),
      outboxEntry,
    ]),
  );
  // The rows were read after the page of outbox entries: a manifest's outbox entry counts as it was read with its row.
  await send(
    last,
    tags,
    [...withLast.values()].filter((outboxEntry) => !sentBefore.has(nameOf(outboxEntry))),
  );
  return announced;
}

/** Children first, as they come; each chunk is one transaction. */
function chunksOf(manifests: readonly AnnouncedManifest[]): AnnouncedManifest[][] {
  const chunks: AnnouncedManifest[][] = [];
  let bytes = 0;
  for (const manifest of manifests) {
    const chunk = chunks.at(-1);
    if (chunk === undefined || chunk.length >= CHUNK_MANIFESTS || bytes + manifest.size > CHUNK_BYTES) {
      chunks.push([manifest]);
      bytes = manifest.size;
    } else {
      chunk.push(manifest);
      bytes += manifest.size;
    }
  }
  return chunks;
}

function nameOf({ kind, repository, key }: OutboxEntry): string {
  return `${kind} ${repository} ${key}`;
}
