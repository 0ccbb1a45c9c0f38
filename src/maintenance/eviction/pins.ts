/** Pins images to nodes, for administrators. Pins are in the node's own store, so its eviction asks no other store. */
import type { Config } from '../../config.ts';
import { OciError } from '../../oci/errors.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import { composeStore } from '../../registry/compose.ts';
import type { Actor } from '../../stores/organizations/audit-rows.ts';
import { pin, pinnedAt, unpin } from './pin-rows.ts';
import type { Store } from '../../stores/store.ts';

export interface Pin {
  readonly node: string;
  /** Milliseconds since the epoch. */
  readonly pinnedAt: number;
}

export class Pins {
  readonly #config: Config;
  readonly #env: object;

  constructor(config: Config, env: object) {
    this.#config = config;
    this.#env = env;
  }

  /** Returns the nodes to which this reference is pinned. Nodes that share a store share their pins. */
  async list(repository: RepositoryName, reference: Reference): Promise<Pin[]> {
    const asked = this.#config.nodes.map(async ({ name }) => ({
      node: name,
      pinnedAt: await pinnedAt(this.#store(name).database, repository, textOf(reference)),
    }));
    return (await Promise.all(asked)).flatMap(({ node, pinnedAt: at }) =>
      at === undefined ? [] : [{ node, pinnedAt: at }],
    );
  }

  /** Pins an image. A second pin changes nothing. @throws OciError NOT_FOUND if there is no such node */
  async add(node: string, repository: RepositoryName, reference: Reference, now: number, by: Actor): Promise<Pin> {
    const { database } = this.#store(node);
    await pin(database, repository, textOf(reference), now, by);
    return { node, pinnedAt: (await pinnedAt(database, repository, textOf(reference))) ?? now };
  }

  /** Removes a pin. @throws OciError NOT_FOUND if there is no such node or pin */
  async remove(node: string, repository: RepositoryName, reference: Reference, now: number, by: Actor): Promise<void> {
    if (await unpin(this.#store(node).database, repository, textOf(reference), now, by)) return;
    throw new OciError('NOT_FOUND', { message: `${repository} has no pin of ${textOf(reference)} at ${node}` });
  }

  /** @throws OciError NOT_FOUND if there is no such node */
  #store(node: string): Store {
    const name = this.#config.nodes.find((each) => each.name === node)?.store;
    const store = name === undefined ? undefined : composeStore(this.#config, this.#env, name);
    if (store === undefined) throw new OciError('NOT_FOUND', { message: `there is no node ${node}` });
    return store;
  }
}

function textOf(reference: Reference) {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}
