/**
 * The promises to clients: a blob is kept for g, and a manifest that needs it can be committed. A client's deletion
 * ends a promise. If a blob was deleted at another host, a node's answer about it is not a promise until the node has
 * applied that deletion.
 */
import type { Digest } from '../../../../src/oci/digest.ts';
import { HOST_NAMES, type HostName } from '../../../support/hosts.ts';

export interface Promised {
  readonly host: HostName;
  readonly repository: number;
  readonly digest: Digest;
  /** The end of the promise, inclusive, in milliseconds since the epoch. */
  readonly until: number;
}

/** A deletion that a client has requested. */
interface Deletion {
  readonly repository: number;
  /** Undefined for the whole repository. */
  readonly digest: Digest | undefined;
  ended: boolean;
  /** Hosts that may still remove a link because of it. */
  readonly ahead: Set<HostName>;
}

export class Promises {
  readonly #kept = new Map<string, Promised>();
  readonly #deletions = new Set<Deletion>();

  made(promised: Promised): void {
    const { host, repository, digest } = promised;
    const isVoid = [...this.#deletions].some(
      (deletion) => deletion.ahead.has(host) && concerns(deletion, repository, digest),
    );
    if (!isVoid) this.#kept.set(`${host} ${repository} ${digest}`, promised);
  }

  /** Records that a client requests a deletion. Returns a function to call once it is done or has failed. */
  deleting(repository: number, digest: Digest | undefined): () => void {
    const deletion: Deletion = { repository, digest, ended: false, ahead: new Set(HOST_NAMES) };
    this.#deletions.add(deletion);
    for (const [key, promised] of this.#kept) {
      if (concerns(deletion, promised.repository, promised.digest)) this.#kept.delete(key);
    }
    return () => {
      deletion.ended = true;
      deletion.ahead.delete('central');
    };
  }

  /** Records that a node has applied all of central's change log. */
  applied(node: HostName): void {
    for (const deletion of this.#deletions) if (deletion.ended) deletion.ahead.delete(node);
  }

  isKept(host: HostName, repository: number, digest: Digest, now: number): boolean {
    const promised = this.#kept.get(`${host} ${repository} ${digest}`);
    return promised !== undefined && promised.until >= now;
  }

  all(now: number): readonly Promised[] {
    return [...this.#kept.values()].filter(({ until }) => until >= now);
  }
}

function concerns(deletion: Deletion, repository: number, digest: Digest): boolean {
  return deletion.repository === repository && (deletion.digest ?? digest) === digest;
}
