/**
 * A node's queue. Which step is next is asked of `nextStep` of replication/machine.ts; what the step does is what
 * replication/announce.ts and follow.ts do, all at once or disturbed between its parts.
 */
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { afterFailure, type Job, nextStep, type View } from '../../src/replication/machine.ts';
import type { Marker } from '../../src/stores/outbox-rows.ts';
import { type Context, disturb, disturbed, type Visit, withStore } from './context.ts';
import { deliver } from './delivery.ts';
import {
  CENTRAL,
  DIGESTS,
  HOST_NAMES,
  type Markers,
  type Message,
  NO_LIVES,
  NO_MARKERS,
  NO_TAGS,
  type NodeIndex,
  put,
  SLOTS,
  slotOf,
  TAG_NAMES,
  type World,
} from './state.ts';
import { announceTo, readFeed, readMarked } from './world.ts';

const REPOSITORY = 'a/b' as RepositoryName;
const NOW = 1;
/** Of a marker that waits for another attempt. */
const WAITING: Job = afterFailure(undefined, new Error('refused'), NOW, 1);

/** It looks, whether or not it has heard that the feed has grown. */
export function queueSteps(context: Context, world: World, node: NodeIndex, visit: Visit): void {
  const markers = markersOf(world.stores[node].markers);
  const view: View = { paused: false, restUntil: 0, feedMayHaveGrown: false, markers, jobOf: () => undefined };
  const behind = world.feed.length - world.stores[node].position;
  if (behind > 0 && nextStep({ ...view, feedMayHaveGrown: true }, NOW).kind === 'follow') follow(context, world, node, visit);
  const step = nextStep(view, NOW);
  if (step.kind !== 'announce') return;
  announcePage(context, world, pageOf(node, step.markers), `reads the markers of ${namesOf(step.markers)}`, visit);
  const partly = markers.length > 1 ? disturb(context, world) : undefined;
  if (partly === undefined) return;
  for (const due of markers) {
    const alone = nextStep({ ...view, jobOf: (marker) => (marker === due ? undefined : WAITING) }, NOW);
    if (alone.kind !== 'announce') continue;
    announcePage(context, partly, pageOf(node, alone.markers), `reads the marker of ${namesOf(alone.markers)} alone`, visit);
  }
}

/** In pieces of any size. */
function follow(context: Context, world: World, node: NodeIndex, visit: Visit): void {
  const behind = world.feed.length - world.stores[node].position;
  for (let limit = 1; limit <= behind; limit++) {
    const message = readFeed(world, node, limit);
    const label = (): string => `${HOST_NAMES[node]}: its queue reads ${limit} of the feed`;
    visit(label, deliver(context, world, message));
    disturbed(context, world, message, () => `${label()}, and is overtaken`, visit);
  }
}

/** The markers have been read. */
function announcePage(context: Context, world: World, page: Message, did: string, visit: Visit): void {
  const { node } = page;
  const label = (): string => `${HOST_NAMES[node]}: its queue ${did}`;
  if (page.kind === 'page') disturbed(context, world, page, () => `${label()}, and is overtaken`, visit);
  const request = readMarked(node, world.stores[node], page.done);
  disturbed(context, world, request, () => `${label()} and sends an announcement, which is under way`, visit);
  const next = announceRequest(context, world, request, () => `${label()} and announces`, visit);
  disturbed(context, next, request, () => `${label()} and announces, and will once more`, visit);
}

/** The request arrives at central, and the reply at the node: applied at once, late or never. */
function announceRequest(context: Context, world: World, request: Message, label: () => string, visit: Visit): World {
  const [central, reply] = announceTo(world.stores[CENTRAL], request);
  const arrived = withStore(world, CENTRAL, central);
  const next = deliver(context, arrived, reply);
  visit(label, next);
  disturbed(context, arrived, reply, () => `${label()}; the reply is under way`, visit);
  return next;
}

/** What went astray arrives. */
export function strays(context: Context, world: World, visit: Visit): void {
  for (const message of world.astray) {
    const without = { ...world, astray: world.astray.filter((other) => other !== message) };
    const name = HOST_NAMES[message.node];
    switch (message.kind) {
      case 'page':
        announcePage(context, without, { ...message, kind: 'request' }, 'goes on from the markers that it had read', visit);
        break;
      case 'request':
        visit(() => `central: an announcement of ${name} arrives late, the reply is lost`, deliver(context, without, message));
        announceRequest(context, without, message, () => `central: an announcement of ${name} arrives late`, visit);
        break;
      default:
        visit(() => `${name}: a ${message.kind} is applied late`, deliver(context, without, message));
    }
  }
}

function markersOf({ tags, manifests }: Markers): Marker[] {
  const markers: Marker[] = [];
  for (const slot of SLOTS) {
    const [ofManifest, ofTag] = [manifests[slot], tags[slot]];
    const common = { repository: REPOSITORY, written_at: 0 };
    if (ofManifest > 0) markers.push({ ...common, kind: 'manifest', key: DIGESTS[slot], stamp: ofManifest });
    if (ofTag > 0) markers.push({ ...common, kind: 'tag', key: TAG_NAMES[slot] as Tag, stamp: ofTag });
  }
  return markers;
}

function pageOf(node: NodeIndex, markers: readonly Marker[]): Message {
  let done = NO_MARKERS;
  for (const { kind, key, stamp } of markers) {
    done =
      kind === 'manifest'
        ? { ...done, manifests: put(done.manifests, slotOf(key), stamp) }
        : { ...done, tags: put(done.tags, key === TAG_NAMES[0] ? 0 : 1, stamp) };
  }
  return { kind: 'page', node, tags: NO_TAGS, manifests: NO_LIVES, removed: 0, done, clock: 0, from: 0, to: 0 };
}

function namesOf(markers: readonly Marker[]): string {
  return markers.map(({ key }) => key).join(', ');
}
