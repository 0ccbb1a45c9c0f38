/** Manifests at a node: the rows of the node's store and of central are merged, then judged. */
import { HOUR } from '../../durations.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import { readHeads, readManifests } from '../../stores/manifests/manifest-records.ts';
import { raiseClockTo } from '../../stores/clock.ts';
import type { Database } from '../../stores/database.ts';
import {
  findManifest,
  type ManifestRow,
  type ManifestRows,
  readContents,
  recordPull,
} from '../../stores/manifests/manifest-rows.ts';
import { mergeClaims, NO_CLAIMS, typeOf } from '../../stores/manifests/manifest-type.ts';
import { mergeRows } from '../../stores/merge.ts';
import { leaveTagsToCentral, leaveToCentral } from '../../stores/organizations/usage-rows.ts';
import {
  isAlive,
  mergeManifests,
  mergeTags,
  NO_MANIFEST,
  type TagVersion,
  underRemoval,
} from '../../stores/versions.ts';
import type { ReadAccess } from '../access.ts';
import { descriptorOf, manifestUnknown, requirePublic, resolves, textOf } from '../answers.ts';
import { answerOfCentral, CentralAway, type Federation, orAway } from './central.ts';
import type { MakeRoom, ManifestDescriptor, StoredManifest } from '../registry.ts';

type Want = 'content' | 'descriptor';

interface Found {
  readonly row: ManifestRow;
  readonly contents: readonly string[];
  readonly tag: TagVersion | undefined;
  readonly from: 'node' | 'central';
  /** Where the document is. */
  readonly database: Database;
  /** Whether what came from afar is to be kept here. */
  readonly keep: boolean;
}

export class FederatedManifests {
  readonly #federation: Federation;

  constructor(federation: Federation) {
    this.#federation = federation;
  }

  async get(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest> {
    const { row, contents, from, database, keep, tag } = await this.#find(access, reference, 'content');
    const read = (): Promise<string[]> => {
      const whole = readContents(database, access.repository, row.digest);
      return from === 'central' ? answerOfCentral(whole) : whole;
    };
    const text = await textOf(row, contents, read, makeRoom);
    if (text === undefined) throw manifestUnknown(access.repository, reference, true);
    if (from === 'node') this.#recordPull(access, row);
    if (keep) this.#federation.options.defer(this.#keep(access.repository, reference, row.digest, tag));
    return { ...descriptorOf(row), text };
  }

  async resolve(access: ReadAccess, reference: Reference, mayPush: boolean): Promise<ManifestDescriptor> {
    try {
      const { row, keep, tag } = await this.#find(access, reference, 'descriptor');
      // Who pulls may resolve the tag by HEAD, and get all else by digest: the tag would never be kept. Who pushes
      // moves it.
      if (keep && reference.kind === 'tag' && !mayPush) {
        this.#federation.options.defer(this.#keep(access.repository, reference, row.digest, tag));
      }
      return descriptorOf(row);
    } catch (error) {
      if (mayPush && error instanceof CentralAway) throw manifestUnknown(access.repository, reference, true);
      throw error;
    }
  }

  /**
   * The digest that a reference has here and at central, merged; undefined where it has none. @throws OciError
   * UNAVAILABLE
   */
  async current(repository: RepositoryName, reference: Reference): Promise<Digest | undefined> {
    try {
      return (await this.#find({ repository, condition: 'granted' }, reference, 'descriptor')).row.digest;
    } catch (error) {
      if (isUnknown(error)) return undefined;
      throw error;
    }
  }

  /**
   * Central is read at its nearest replica, if it has any. They lag: that something is not there is for the primary to
   * say.
   */
  async #find(access: ReadAccess, reference: Reference, want: Want): Promise<Found> {
    const { central, options } = this.#federation;
    const { database } = central;
    if (!options.centralHasReplicas) return this.#findWith(database, access, reference, want);
    const replica = database.nearestReplica();
    try {
      return await this.#findWith(replica, access, reference, want);
    } catch (error) {
      if (!replica.lags || !isUnknown(error)) throw error;
      return this.#findWith(database, access, reference, want);
    }
  }

  /** A tag is asked for in both stores at once; of a digest, a live row of the node's is served alone. */
  async #findWith(central: Database, access: ReadAccess, reference: Reference, want: Want): Promise<Found> {
    const { node } = this.#federation;
    const { repository } = access;
    const ofNode = findManifest(node.database, repository, reference, want).catch(orAway);
    if (reference.kind === 'digest') {
      const local = await ofNode;
      if (local instanceof OciError) return this.#fromCentral(access, reference, local, want);
      requirePublic(access, local.public);
      if (local.manifest !== undefined && isAlive(local.manifest))
        return this.#found(local, local.manifest, node.database);
      const remote = await answerOfCentral(findManifest(central, repository, reference, want));
      return this.#judge(central, access, reference, local, remote, want);
    }
    const [local, remote] = await Promise.all([
      ofNode,
      answerOfCentral(findManifest(central, repository, reference, want)).catch(orAway),
    ]);
    if (local instanceof OciError) return this.#fromCentral(access, reference, local, want);
    requirePublic(access, local.public);
    if (!(remote instanceof OciError)) return this.#judge(central, access, reference, local, remote, want);
    if (local.manifest !== undefined && resolves(reference, local.tag, local.manifest))
      return this.#found(local, local.manifest, node.database);
    throw remote;
  }

  /** The node's own store is away: what central has is served, and what it lacks may yet be here. */
  async #fromCentral(access: ReadAccess, reference: Reference, away: OciError, want: Want): Promise<Found> {
    const { central } = this.#federation;
    const remote = await answerOfCentral(findManifest(central.database, access.repository, reference, want));
    requirePublic(access, remote.public);
    if (remote.manifest === undefined || !resolves(reference, remote.tag, remote.manifest)) throw away;
    return { ...this.#found(remote, remote.manifest, central.database), keep: false };
  }

  #found(rows: ManifestRows, row: ManifestRow, database: Database): Found {
    const from = database === this.#federation.node.database ? 'node' : 'central';
    return { row, contents: rows.contents, tag: rows.tag, from, database, keep: from === 'central' };
  }

  async #judge(
    central: Database,
    access: ReadAccess,
    reference: Reference,
    nodeRows: ManifestRows,
    remoteRows: ManifestRows,
    want: Want,
  ): Promise<Found> {
    const { node, options } = this.#federation;
    const { repository } = access;
    let [local, remote] = [nodeRows, remoteRows];
    const tag = mergeTags(local.tag, remote.tag);
    const digest = reference.kind === 'digest' ? reference.digest : (tag?.digest ?? undefined);
    if (digest !== undefined && reference.kind === 'tag') {
      // Where the stores have the tag on different manifests, each may know what the other does not of the winner.
      const winner = { kind: 'digest', digest } as const;
      if (local.manifest?.digest !== digest) local = await findManifest(node.database, repository, winner, want);
      if (remote.manifest?.digest !== digest)
        remote = await answerOfCentral(findManifest(central, repository, winner, want));
    }
    const known = mergeManifests(local.manifest ?? NO_MANIFEST, remote.manifest ?? NO_MANIFEST);
    const merged = underRemoval(known, Math.max(local.removed, remote.removed));
    const seen = Math.max(remoteRows.tag?.version ?? 0, merged.created, merged.deleted);
    await raiseClockTo(node.database, seen, options.now());
    const visible = digest !== undefined && resolves(reference, tag, merged);
    if (!visible) throw manifestUnknown(repository, reference, local.repositoryExists || remote.repositoryExists);
    const live = [local, remote].filter(({ manifest }) => manifest !== undefined && isAlive(manifest));
    const latest = live.find(({ manifest }) => manifest?.created === merged.created) ?? live[0];
    if (latest?.manifest === undefined) throw new CentralAway();
    // The same bytes, but not always the same media type.
    const claims = mergeClaims(local.manifest ?? NO_CLAIMS, remote.manifest ?? NO_CLAIMS);
    const mediaType = typeOf(claims, merged.deleted)?.mediaType ?? latest.manifest.mediaType;
    const found = this.#found(latest, { ...latest.manifest, mediaType }, latest === local ? node.database : central);
    // What the node has yet to hear of a manifest that it holds is kept as well: its tag, or its media type.
    const isNew = tag !== nodeRows.tag || (latest === local && local.manifest?.mediaType !== mediaType);
    return { ...found, tag, keep: found.keep || isNew };
  }

  /**
   * What was fetched from afar is kept for the next time, with its versions and without an outbox entry: central has
   * it.
   */
  async #keep(
    repository: RepositoryName,
    reference: Reference,
    digest: Digest,
    tag: TagVersion | undefined,
  ): Promise<void> {
    const { node, central, options } = this.#federation;
    const heads = await readHeads(central.database, [{ repository, digest }]);
    const { manifests, blobs } = await readManifests(central.database, node.name, heads);
    const tags = reference.kind === 'tag' && tag !== undefined ? [{ ...tag, repository, name: reference.tag }] : [];
    if (manifests.length === 0) return;
    const merged = mergeRows({ tags, lifecycles: [], manifests, blobs }, options.now());
    await node.database.batch([...merged, ...leaveToCentral(manifests), ...leaveTagsToCentral(tags)]);
    // Kept for having been pulled: it is not the first to be evicted, however old it is.
    await recordPull(node.database, repository, digest, hourOf(options.now()));
  }

  #recordPull({ repository }: ReadAccess, { digest, lastPull }: ManifestRow): void {
    const { node, options } = this.#federation;
    const hour = hourOf(options.now());
    if (lastPull < hour) options.defer(recordPull(node.database, repository, digest, hour));
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof OciError && (error.kind === 'MANIFEST_UNKNOWN' || error.kind === 'NAME_UNKNOWN');
}

function hourOf(milliseconds: number): number {
  return Math.floor(milliseconds / HOUR) * HOUR;
}
