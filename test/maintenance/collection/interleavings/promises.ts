/**
 * What clients were promised: that a blob is kept for g, and that a manifest which needs it can be committed. A promise
 * ends with a deletion by a client; and what a node says of a blob that was deleted elsewhere is none before the node
 * has heard of it.
 */
import type { Digest } from '../../../../src/oci/digest.ts';
import { HOST_NAMES, type HostName } from '../../../support/hosts.ts';

export interface Promised {
  readonly host: HostName;
  readonly repository: number;
  readonly digest: Digest;
  /** In milliseconds since the epoch, inclusive. */
  readonly until: number;
}

/** A deletion that was asked for. */
interface Deletion {
  readonly repository: number;
  /** Undefined for the whole repository. */
  readonly digest: Digest | undefined;
  ended: boolean;
  /** Hosts that may yet remove a link for it. */
  readonly ahead: Set<HostName>;
}

export class Promises {
  readonly #kept = new Map<string, Promised>();
  readonly #deletions = new Set<Deletion>();

  made(promised: Promised): void {
    const { host, repository, digest } = promised;
    const clouded = [...this.#deletions].some(
      (deletion) => deletion.ahead.has(host) && concerns(deletion, repository, digest),
    );
    if (!clouded) this.#kept.set(`${host} ${repository} ${digest}`, promised);
  }

  /** A client asks for a deletion. Gives what has to be called once it is done, or never will be. */
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

  /** A node has followed all that central's change log says. */
  followed(node: HostName): void {
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
