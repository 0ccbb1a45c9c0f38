/** The contents of the stores after a step, read directly and not through any host. */
import { type Digest, digestOf } from '../../../../src/oci/digest.ts';
import { organizationOf, type RepositoryName, type Tag } from '../../../../src/oci/reference.ts';
import {
  isAlive,
  isVisible,
  type ManifestVersions,
  mergeManifests,
  mergeTags,
  NO_MANIFEST,
  type TagVersion,
  underRemoval,
} from '../../../../src/stores/versions.ts';
import { BINDINGS } from '../../../support/bindings.ts';
import { HOST_NAMES, type HostName } from '../../../support/hosts.ts';
import { WRONGLY_VISIBLE, type WronglyVisible } from '../../../support/visible.ts';
import type { World } from './isolates.ts';

export interface StoreSeen {
  readonly tags: ReadonlyMap<string, TagVersion>;
  readonly manifests: ReadonlyMap<string, ManifestVersions>;
  /** Versions of removals, by the name of a repository or organization. */
  readonly removals: ReadonlyMap<string, number>;
  readonly locations: readonly { readonly digest: Digest; readonly store: HostName; readonly key: string }[];
  /**
   * By repository and digest: the end of the time for which a link is usable without a location, in milliseconds since
   * the epoch.
   */
  readonly links: ReadonlyMap<string, number | null>;
  readonly chunks: ReadonlySet<string>;
  readonly repositories: ReadonlySet<string>;
  readonly wronglyVisible: readonly WronglyVisible[];
}

const SELECT = [
  'SELECT repository, name, digest, version, origin FROM tags',
  'SELECT repository, digest, created_version AS created, deleted_version AS deleted FROM manifests',
  'SELECT digest, store, key FROM locations',
  'SELECT repository, digest, usable_until FROM links',
  `SELECT key FROM upload_chunks WHERE key IS NOT NULL
    UNION SELECT key FROM uploads WHERE key IS NOT NULL AND (state <> 'finished' OR leftover = 1)`,
  'SELECT name FROM repositories',
  WRONGLY_VISIBLE,
  'SELECT name, version FROM removals',
] as const;

export class StoresSeen {
  readonly #world: World;
  readonly #stores = new Map<HostName, StoreSeen>();
  readonly #objects = new Map<HostName, ReadonlySet<string>>();
  /** Digests by key. No key is written twice. */
  readonly #digests = new Map<string, Digest>();
  /** Keys that a row has ever named. */
  readonly named = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Reads stores again that may have changed. Returns the keys of new objects. */
  async look(): Promise<readonly string[]> {
    const fresh: string[] = [];
    await Promise.all(
      HOST_NAMES.map(async (name) => {
        if (this.#isDue(name, 'database')) await this.#lookAtRows(name);
        if (this.#isDue(name, 'bucket')) fresh.push(...(await this.#lookAtObjects(name)));
      }),
    );
    this.#world.touched.clear();
    return fresh;
  }

  store(name: HostName): StoreSeen {
    const seen = this.#stores.get(name);
    if (seen === undefined) throw new Error(`${name} has not been read yet: call look() first`);
    return seen;
  }

  /** Returns the digest of an object's bytes; undefined if there is no such object. */
  object(store: HostName, key: string): Digest | undefined {
    return this.#objects.get(store)?.has(key) === true ? this.#digests.get(key) : undefined;
  }

  objects(store: HostName): ReadonlySet<string> {
    return this.#objects.get(store) ?? new Set();
  }

  /** Returns the merged versions of a manifest in some stores. */
  lifecycle(stores: readonly HostName[], repository: RepositoryName, digest: Digest): ManifestVersions {
    const lifecycles = stores.map((name) => {
      const { manifests, removals } = this.store(name);
      const removed = Math.max(removals.get(repository) ?? 0, removals.get(organizationOf(repository)) ?? 0);
      return underRemoval(manifests.get(`${repository}@${digest}`) ?? NO_MANIFEST, removed);
    });
    return lifecycles.reduce(mergeManifests);
  }

  /**
   * Returns what a host shows by digest: its own row if that is alive, otherwise the merge of its and central's rows.
   */
  shown(host: HostName, repository: RepositoryName, digest: Digest): ManifestVersions {
    const local = this.lifecycle([host], repository, digest);
    return isAlive(local) ? local : this.lifecycle([host, 'central'], repository, digest);
  }

  /** Returns the digest that a host shows for a tag while central answers; null if none. */
  tag(host: HostName, repository: RepositoryName, tag: Tag | string): Digest | null {
    const [local, remote] = [host, 'central' as const].map((name) => this.store(name).tags.get(`${repository}:${tag}`));
    const winner = mergeTags(local, remote);
    if (winner?.digest == null) return null;
    return isVisible(winner, this.lifecycle([host, 'central'], repository, winner.digest)) ? winner.digest : null;
  }

  /** Whether a client of a host can read a blob. */
  isReadable(host: HostName, repository: RepositoryName, digest: Digest): boolean {
    const link = `${repository}@${digest}`;
    const [here, central] = [this.store(host), this.store('central')];
    const local = here.links.has(link);
    if (local && this.#hasBytes(here, digest)) return true;
    return (local || central.links.has(link)) && this.#hasBytes(central, digest);
  }

  #hasBytes({ locations }: StoreSeen, digest: Digest): boolean {
    return locations.some(
      (location) => location.digest === digest && this.object(location.store, location.key) === digest,
    );
  }

  #isDue(name: HostName, part: 'database' | 'bucket'): boolean {
    return (
      this.#world.touched.has(`${name} ${part}`) ||
      (part === 'database' ? this.#stores : this.#objects).get(name) === undefined
    );
  }

  async #lookAtRows(name: HostName): Promise<void> {
    const [database] = BINDINGS[name];
    const results = await database.batch<never>(SELECT.map((query) => database.prepare(query)));
    const [
      tags = [],
      manifests = [],
      locations = [],
      links = [],
      chunks = [],
      repositories = [],
      wronglyVisible = [],
      removals = [],
    ] = results.map((result) => result.results);
    const rows = <Row>(list: readonly unknown[]): readonly Row[] => list as readonly Row[];
    const seen: StoreSeen = {
      tags: new Map(
        rows<TagVersion & { repository: string; name: string }>(tags).map((row) => [
          `${row.repository}:${row.name}`,
          row,
        ]),
      ),
      manifests: new Map(
        rows<ManifestVersions & { repository: string; digest: string }>(manifests).map((row) => [
          `${row.repository}@${row.digest}`,
          row,
        ]),
      ),
      removals: new Map(
        rows<{ name: string; version: number }>(removals).map(({ name: removed, version }) => [removed, version]),
      ),
      locations,
      links: new Map(
        rows<{ repository: string; digest: string; usable_until: number | null }>(links).map((row) => [
          `${row.repository}@${row.digest}`,
          row.usable_until,
        ]),
      ),
      chunks: new Set(rows<{ key: string }>(chunks).map(({ key }) => key)),
      repositories: new Set(rows<{ name: string }>(repositories).map(({ name: repository }) => repository)),
      wronglyVisible,
    };
    for (const { key } of seen.locations) this.named.add(key);
    for (const key of seen.chunks) this.named.add(key);
    this.#stores.set(name, seen);
  }

  async #lookAtObjects(name: HostName): Promise<string[]> {
    const [, bucket] = BINDINGS[name];
    const { objects } = await bucket.list();
    const keys = objects.map(({ key }) => key);
    const fresh = keys.filter((key) => !this.#digests.has(key));
    await Promise.all(
      fresh.map(async (key) => {
        const object = await bucket.get(key);
        if (object !== null)
          this.#digests.set(key, await digestOf('sha256', new Uint8Array(await object.arrayBuffer())));
      }),
    );
    this.#objects.set(name, new Set(keys));
    return fresh;
  }
}
