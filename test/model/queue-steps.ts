/**
 * A node's queue. `nextStep` of replication/machine.ts chooses the step. A step does what replication/announce.ts and
 * apply-changes.ts do, either at once or disturbed between its parts.
 */
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { afterFailure, type Job, nextStep, type View } from '../../src/replication/machine.ts';
import type { OutboxEntry } from '../../src/stores/outbox-rows.ts';
import { type Context, disturb, disturbed, type Visit, withStore } from './context.ts';
import { deliver } from './delivery.ts';
import {
  CENTRAL,
  DIGESTS,
  HOST_NAMES,
  type OutboxEntries,
  type Message,
  NO_LIFECYCLES,
  NO_OUTBOX_ENTRIES,
  NO_TAGS,
  type NodeIndex,
  put,
  SLOTS,
  slotOf,
  TAG_NAMES,
  type World,
} from './state.ts';
import { announceTo, entriesAfter, readChangeLog, readToAnnounce } from './world.ts';

const REPOSITORY = 'a/b' as RepositoryName;
const NOW = 1;
/** The job of an outbox entry that waits for another attempt. */
const WAITING: Job = afterFailure(undefined, new Error('refused'), NOW, 1);

/** Visits the steps of a queue, which looks at the change log whether or not it was told that it has grown. */
export function queueSteps(context: Context, world: World, node: NodeIndex, visit: Visit): void {
  const outboxEntries = outboxEntriesOf(world.stores[node].outboxEntries);
  const view: View = {
    paused: false,
    backoffUntil: 0,
    changeLogMayHaveGrown: false,
    outboxEntries,
    jobOf: () => undefined,
  };
  const behind = entriesAfter(world, world.stores[node].position).length;
  if (behind > 0 && nextStep({ ...view, changeLogMayHaveGrown: true }, NOW).kind === 'apply')
    apply(context, world, node, visit);
  const step = nextStep(view, NOW);
  if (step.kind !== 'announce') return;
  announcePage(
    context,
    world,
    pageOf(node, step.outboxEntries),
    `reads the outbox entries of ${namesOf(step.outboxEntries)}`,
    visit,
  );
  const partly = outboxEntries.length > 1 ? disturb(context, world) : undefined;
  if (partly === undefined) return;
  for (const due of outboxEntries) {
    const alone = nextStep({ ...view, jobOf: (outboxEntry) => (outboxEntry === due ? undefined : WAITING) }, NOW);
    if (alone.kind !== 'announce') continue;
    announcePage(
      context,
      partly,
      pageOf(node, alone.outboxEntries),
      `reads the outbox entry of ${namesOf(alone.outboxEntries)} alone`,
      visit,
    );
  }
}

/** Applies the change log, in pieces of any size. */
function apply(context: Context, world: World, node: NodeIndex, visit: Visit): void {
  const behind = entriesAfter(world, world.stores[node].position).length;
  for (let limit = 1; limit <= behind; limit++) {
    const message = readChangeLog(world, node, limit);
    const entries = limit === 1 ? '1 entry' : `${limit} entries`;
    const label = (): string => `${HOST_NAMES[node]}: its queue reads ${entries} of the change log`;
    visit(label, deliver(context, world, message));
    disturbed(context, world, message, () => `${label()}, and is overtaken`, visit);
  }
}

/** Announces outbox entries that have been read. */
function announcePage(context: Context, world: World, page: Message, did: string, visit: Visit): void {
  const { node } = page;
  const label = (): string => `${HOST_NAMES[node]}: its queue ${did}`;
  if (page.kind === 'page') disturbed(context, world, page, () => `${label()}, and is overtaken`, visit);
  const request = readToAnnounce(context, node, world.stores[node], page.done);
  disturbed(context, world, request, () => `${label()} and sends an announcement, which is under way`, visit);
  const next = announceRequest(context, world, request, () => `${label()} and announces`, visit);
  disturbed(context, next, request, () => `${label()} and announces, and the request will arrive again`, visit);
}

/** Delivers a request to central, and the reply to the node: at once, late or never. */
function announceRequest(context: Context, world: World, request: Message, label: () => string, visit: Visit): World {
  const [central, reply] = announceTo(world.stores[CENTRAL], request);
  const arrived = withStore(world, CENTRAL, central);
  const next = deliver(context, arrived, reply);
  visit(label, next);
  disturbed(context, arrived, reply, () => `${label()}; the reply is under way`, visit);
  return next;
}

const LATE_MESSAGES = {
  reply: 'a reply',
  changeLog: 'a piece of the change log',
  keep: 'what a read keeps',
} as const;

/** Delivers messages that were overtaken. */
export function strays(context: Context, world: World, visit: Visit): void {
  for (const message of world.astray) {
    const without = { ...world, astray: world.astray.filter((other) => other !== message) };
    const name = HOST_NAMES[message.node];
    switch (message.kind) {
      case 'page':
        announcePage(
          context,
          without,
          { ...message, kind: 'request' },
          'goes on with the outbox entries that it had read',
          visit,
        );
        break;
      case 'request':
        visit(
          () => `central: an announcement of ${name} arrives late, and the reply is lost`,
          deliver(context, without, message),
        );
        announceRequest(context, without, message, () => `central: an announcement of ${name} arrives late`, visit);
        break;
      default: {
        const late = LATE_MESSAGES[message.kind];
        visit(() => `${name}: ${late} is applied late`, deliver(context, without, message));
      }
    }
  }
}

function outboxEntriesOf({ tags, manifests }: OutboxEntries): OutboxEntry[] {
  const outboxEntries: OutboxEntry[] = [];
  for (const slot of SLOTS) {
    const [ofManifest, ofTag] = [manifests[slot], tags[slot]];
    const common = { repository: REPOSITORY, written_at: 0 };
    if (ofManifest > 0) outboxEntries.push({ ...common, kind: 'manifest', key: DIGESTS[slot], version: ofManifest });
    if (ofTag > 0) outboxEntries.push({ ...common, kind: 'tag', key: TAG_NAMES[slot] as Tag, version: ofTag });
  }
  return outboxEntries;
}

function pageOf(node: NodeIndex, outboxEntries: readonly OutboxEntry[]): Message {
  let done = NO_OUTBOX_ENTRIES;
  for (const { kind, key, version } of outboxEntries) {
    done =
      kind === 'manifest'
        ? { ...done, manifests: put(done.manifests, slotOf(key), version) }
        : { ...done, tags: put(done.tags, key === TAG_NAMES[0] ? 0 : 1, version) };
  }
  return { kind: 'page', node, tags: NO_TAGS, manifests: NO_LIFECYCLES, removed: 0, done, clock: 0, from: 0, to: 0 };
}

function namesOf(outboxEntries: readonly OutboxEntry[]): string {
  return outboxEntries.map(({ key }) => key).join(', ');
}
