/**
 * Decides what clients may see, from what clients were told, without rows and versions. An acknowledged write or
 * deletion comes after those that its host knew of. One without an answer may come anywhere after its own start. A
 * client must see the outcome of an event that no acknowledged event came after.
 */
import type { HostName, NodeName } from '../support/hosts.ts';

export type Change = { readonly repository: number } & (
  | { readonly kind: 'push'; readonly manifest: number; readonly tags: readonly string[] }
  | { readonly kind: 'delete tag'; readonly tag: string }
  | { readonly kind: 'delete manifest'; readonly manifest: number }
  | { readonly kind: 'delete repository' }
);

export type Event = Change & {
  readonly host: HostName;
  /** The events that this one comes after. */
  readonly after: ReadonlySet<Event>;
  acknowledged: boolean;
};

/** The number of the manifest that a reference shows; null for none. */
export type Seen = number | null;

export class Oracle {
  readonly #events: Event[] = [];
  /** The events that a host's next write comes after. */
  readonly #known: Readonly<Record<HostName, Set<Event>>> = { central: new Set(), node1: new Set(), node2: new Set() };
  /** The events whose outcome a host has itself; it may know of later ones than these. */
  readonly #has: Readonly<Record<HostName, Set<Event>>> = { central: new Set(), node1: new Set(), node2: new Set() };

  /** Records that a client requests a change. */
  begin(host: HostName, change: Change): Event {
    // A deletion at a node is later than everything that its node and central know about the same thing. It is not, if
    // it only finishes a deletion that has begun at central.
    const earlier =
      change.kind === 'push' || host === 'central'
        ? [...this.#known[host]]
        : [...this.#known[host], ...this.#known.central].filter((event) => touches(change, event));
    const event: Event = { ...change, host, after: closed(earlier), acknowledged: false };
    return event;
  }

  /** Records its answer: acknowledged, or none. A refused event is not recorded. */
  end(event: Event, acknowledged: boolean): void {
    event.acknowledged = acknowledged;
    this.#events.push(event);
    if (!acknowledged) return;
    for (const host of event.kind === 'push' ? [event.host] : [event.host, 'central' as const]) {
      this.#learn(host, [event]);
      this.#has[host].add(event);
    }
  }

  /** Records that a queue has announced and applied everything. */
  exchanged(node: NodeName): void {
    const up = [...this.#has[node]].filter(({ kind }) => kind === 'push');
    const down = [...this.#has.central].filter(({ kind }) => kind !== 'push');
    this.#learn('central', up);
    this.#learn(node, down);
    for (const event of up) this.#has.central.add(event);
    for (const event of down) this.#has[node].add(event);
  }

  /** Records that a client was shown a tag at a node, from both stores. */
  shown(node: HostName, repository: number, tag: string): void {
    this.#learn(
      node,
      [...this.#has.central].filter(
        (event) =>
          event.repository === repository &&
          ((event.kind === 'push' && event.tags.includes(tag)) || (event.kind === 'delete tag' && event.tag === tag)),
      ),
    );
  }

  /**
   * Returns the events that a read at a host must take into account; if it asked central, also those that central
   * knows.
   */
  known(host: HostName, withCentral: boolean): ReadonlySet<Event> {
    return withCentral ? new Set([...this.#has[host], ...this.#has.central]) : new Set(this.#has[host]);
  }

  /** Returns all acknowledged events. */
  everything(): ReadonlySet<Event> {
    return new Set(this.#events.filter(({ acknowledged }) => acknowledged));
  }

  /** Returns whether a reader who must know of the events `known` may see a tag on a manifest, or may see no tag. */
  tagMayBe(repository: number, tag: string, seen: Seen, known: ReadonlySet<Event>): boolean {
    const events = this.#events.filter((event) => event.repository === repository);
    const pushes = events.filter((event) => event.kind === 'push' && event.tags.includes(tag));
    const ends = (push: Event, event: Event): boolean =>
      push.kind === 'push' &&
      ((event.kind === 'delete tag' && event.tag === tag) ||
        event.kind === 'delete repository' ||
        (event.kind === 'delete manifest' && event.manifest === push.manifest));
    const settled = pushes.filter((push) => known.has(push));
    if (seen !== null) {
      return pushes.some(
        (push) =>
          push.kind === 'push' &&
          push.manifest === seen &&
          ![...known].some(
            (event) => event.after.has(push) && (settled.includes(event) || (isIn(events, event) && ends(push, event))),
          ),
      );
    }
    if (settled.length === 0) return true;
    return events.some(
      (event) => pushes.some((push) => ends(push, event)) && !settled.some((push) => push.after.has(event)),
    );
  }

  /** Returns whether a manifest may be seen alive, or absent. */
  manifestMayBe(repository: number, manifest: number, alive: boolean, known: ReadonlySet<Event>): boolean {
    const events = this.#events.filter((event) => event.repository === repository);
    const pushes = events.filter((event) => event.kind === 'push' && event.manifest === manifest);
    const deletions = events.filter(
      (event) =>
        event.kind === 'delete repository' || (event.kind === 'delete manifest' && event.manifest === manifest),
    );
    const settled = pushes.filter((push) => known.has(push));
    if (alive) return pushes.some((push) => !deletions.some((event) => known.has(event) && event.after.has(push)));
    return settled.length === 0 || deletions.some((event) => !settled.some((push) => push.after.has(event)));
  }

  /** Returns whether anything was done to a repository. */
  concerns(repository: number): boolean {
    return this.#events.some((event) => event.repository === repository);
  }

  /** Returns the events of a repository, for the message of a failure. */
  explain(repository: number): string {
    const named = this.#events.filter((event) => event.repository === repository);
    return named
      .map((event, i) => {
        const { after, ...rest } = event;
        const before = named.flatMap((other, at) => (after.has(other) ? [at] : []));
        return `${i}: ${JSON.stringify(rest)} after ${before.join(' ')}`;
      })
      .join('\n');
  }

  #learn(host: HostName, events: readonly Event[]): void {
    for (const event of closed(events)) this.#known[host].add(event);
  }
}

function isIn(events: readonly Event[], event: Event): boolean {
  return events.includes(event);
}

function closed(events: readonly Event[]): Set<Event> {
  return new Set(events.flatMap((event) => [event, ...event.after]));
}

/**
 * Returns whether a deletion at a node is later than an event that the node knows of, because they concern the same
 * thing.
 */
function touches(deletion: Change, event: Event): boolean {
  if (deletion.repository !== event.repository) return false;
  switch (deletion.kind) {
    case 'delete tag':
      return event.kind === 'push' && event.tags.includes(deletion.tag);
    case 'delete manifest':
      return event.kind === 'push' && event.manifest === deletion.manifest;
    default:
      return event.kind === 'push';
  }
}
