/** Manifests at a node. The rows of the node's store and of central are merged before deciding what is visible. */
import { HOUR } from '../../durations.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import { readHeads, readManifests } from '../../stores/manifests/manifest-records.ts';
import type { BlobKey } from '../../stores/manifests/blob-keys.ts';
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
import { leaveToCentral } from '../../stores/organizations/usage-rows.ts';
import {
  type AuthoredTag,
  isAlive,
  mergeManifests,
  mergeTags,
  NO_MANIFEST,
  underRemoval,
} from '../../stores/versions.ts';
import type { ReadAccess } from '../access.ts';
import { descriptorOf, manifestUnknown, requirePublic, resolves, textOf } from '../answers.ts';
import {
  answerOfCentral,
  CENTRAL_MILLISECONDS,
  CentralUnavailable,
  type Federation,
  orUnavailable,
} from './central.ts';
import type { MakeRoom, ManifestDescriptor, Registry, StoredManifest } from '../registry.ts';

/** The part of a manifest to read, and how many milliseconds each question to central may take. */
interface Want {
  readonly part: 'content' | 'descriptor';
  readonly milliseconds: number;
}

const CONTENT: Want = { part: 'content', milliseconds: CENTRAL_MILLISECONDS };
const DESCRIPTOR: Want = { part: 'descriptor', milliseconds: CENTRAL_MILLISECONDS };

interface Found {
  readonly row: ManifestRow;
  readonly contents: readonly string[];
  /** Central's keys of its blobs, if central was asked for the content. */
  readonly keys: readonly BlobKey[];
  readonly tag: AuthoredTag | undefined;
  readonly from: 'node' | 'central';
  /** The database that has the document. */
  readonly database: Database;
  /** Whether the node should store what it has learned from central. */
  readonly keep: boolean;
}

export class FederatedManifests implements Pick<Registry, 'getManifest' | 'resolveManifest'> {
  readonly #federation: Federation;

  constructor(federation: Federation) {
    this.#federation = federation;
  }

  async getManifest(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest> {
    let found = await this.#find(access, reference, CONTENT);
    let text = await this.#textOf(access, found, makeRoom);
    if (text === undefined) {
      // The node evicted the image before its document was read. Central still has it, and the room is already lent.
      found = await this.#find(access, reference, CONTENT);
      text = await this.#textOf(access, found);
    }
    if (text === undefined) throw manifestUnknown(access.repository, reference, true);
    const { row, from, keep, tag, keys } = found;
    const { likelyKeys } = this.#federation.options;
    if (from === 'node') {
      this.#recordPull(access, row);
      if (reference.kind === 'tag') likelyKeys.hold(access.repository, reference.tag, row.digest);
    }
    // A pull of the blobs follows, and the node may lack them.
    else likelyKeys.remember(access.repository, keys);
    if (keep) this.#federation.options.defer(this.#keep(access.repository, reference, row.digest, tag));
    return { ...descriptorOf(row), text };
  }

  #textOf({ repository }: ReadAccess, found: Found, makeRoom?: MakeRoom): Promise<string | undefined> {
    const { row, contents, from, database } = found;
    const read = (): Promise<string[]> => {
      const whole = readContents(database, repository, row.digest);
      return from === 'central' ? answerOfCentral(whole) : whole;
    };
    return textOf(row, contents, read, makeRoom);
  }

  /**
   * Resolves a manifest. A caller who may push waits for central only briefly, because it would simply send what it
   * does not find. It then gets what the node has, or 404.
   */
  async resolveManifest(access: ReadAccess, reference: Reference, mayPush: boolean): Promise<ManifestDescriptor> {
    const { pushWaitMilliseconds } = this.#federation.options;
    const want: Want = mayPush ? { part: 'descriptor', milliseconds: pushWaitMilliseconds } : DESCRIPTOR;
    try {
      const { row, keep, tag } = await this.#find(access, reference, want);
      // A puller may resolve the tag by HEAD and get everything else by digest, so this is the only chance to keep the
      // tag. A pusher is about to move it.
      if (keep && reference.kind === 'tag' && !mayPush) {
        this.#federation.options.defer(this.#keep(access.repository, reference, row.digest, tag));
      }
      return descriptorOf(row);
    } catch (error) {
      if (mayPush && error instanceof CentralUnavailable) throw manifestUnknown(access.repository, reference, true);
      throw error;
    }
  }

  /**
   * Returns the digest that a reference resolves to, by the rows of the node and of central; undefined if it does not
   * resolve.
   * @throws OciError UNAVAILABLE
   */
  async current(repository: RepositoryName, reference: Reference): Promise<Digest | undefined> {
    try {
      return (await this.#find({ repository, condition: 'granted' }, reference, DESCRIPTOR)).row.digest;
    } catch (error) {
      if (isUnknown(error)) return undefined;
      throw error;
    }
  }

  /**
   * Finds a manifest, reading central at its nearest replica if it has any. Replicas lag, so only the primary can say
   * that a manifest is missing.
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

  /**
   * Finds a manifest. A tag is looked up in both stores at once. A digest is looked up at central only if the node has
   * no live row for it.
   */
  async #findWith(central: Database, access: ReadAccess, reference: Reference, want: Want): Promise<Found> {
    const { node } = this.#federation;
    const { repository } = access;
    const ofNode = findManifest(node.database, repository, reference, want.part).catch(orUnavailable);
    if (reference.kind === 'digest') {
      const local = await ofNode;
      if (local instanceof OciError) return this.#fromCentral(access, reference, local, want);
      requirePublic(access, local.public);
      if (local.manifest !== undefined && isAlive(local.manifest))
        return this.#found(local, local.manifest, node.database);
      const remote = await this.#atCentral(central, repository, reference, want);
      return this.#resolveMerged(central, access, reference, local, remote, want);
    }
    const [local, remote] = await Promise.all([
      ofNode,
      this.#atCentral(central, repository, reference, want).catch(orUnavailable),
    ]);
    if (local instanceof OciError) return this.#fromCentral(access, reference, local, want);
    requirePublic(access, local.public);
    if (!(remote instanceof OciError)) return this.#resolveMerged(central, access, reference, local, remote, want);
    if (local.manifest !== undefined && isHeld(local, reference))
      return this.#found(local, local.manifest, node.database);
    throw remote;
  }

  #atCentral(
    central: Database,
    repository: RepositoryName,
    reference: Reference,
    { part, milliseconds }: Want,
  ): Promise<ManifestRows> {
    const { central: store, options } = this.#federation;
    const held = reference.kind === 'tag' ? options.likelyKeys.held(repository, reference.tag) : undefined;
    const keys = { store: store.name, unless: held };
    return answerOfCentral(findManifest(central, repository, reference, part, keys), milliseconds);
  }

  /**
   * Finds a manifest at central while the node's store does not answer.
   * @param unavailable the node's error. It is thrown if central lacks the manifest, because the node may still have
   *   it.
   */
  async #fromCentral(access: ReadAccess, reference: Reference, unavailable: OciError, want: Want): Promise<Found> {
    const { central } = this.#federation;
    const remote = await this.#atCentral(central.database, access.repository, reference, want);
    requirePublic(access, remote.public);
    if (remote.manifest === undefined || !resolves(reference, remote.tag, remote.manifest)) throw unavailable;
    return { ...this.#found(remote, remote.manifest, central.database), keep: false };
  }

  #found(rows: ManifestRows, row: ManifestRow, database: Database): Found {
    const from = database === this.#federation.node.database ? 'node' : 'central';
    return { row, contents: rows.contents, keys: rows.keys, tag: rows.tag, from, database, keep: from === 'central' };
  }

  async #resolveMerged(
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
      // If the tag is on different manifests in the two stores, each store may know something else about the winner.
      const winner = { kind: 'digest', digest } as const;
      if (local.manifest?.digest !== digest) local = await findManifest(node.database, repository, winner, want.part);
      if (remote.manifest?.digest !== digest) remote = await this.#atCentral(central, repository, winner, want);
    }
    const known = mergeManifests(local.manifest ?? NO_MANIFEST, remote.manifest ?? NO_MANIFEST);
    const merged = underRemoval(known, Math.max(local.removed, remote.removed));
    const seen = Math.max(remoteRows.tag?.version ?? 0, merged.created, merged.deleted);
    await raiseClockTo(node.database, seen, options.now());
    const visible = digest !== undefined && resolves(reference, tag, merged);
    if (!visible) throw manifestUnknown(repository, reference, local.repositoryExists || remote.repositoryExists);
    const live = [local, remote].filter(({ manifest }) => manifest !== undefined && isAlive(manifest));
    const latest = live.find(({ manifest }) => manifest?.created === merged.created) ?? live[0];
    if (latest?.manifest === undefined) throw new CentralUnavailable();
    // Both stores have the same bytes, but may give them different media types.
    const claims = mergeClaims(local.manifest ?? NO_CLAIMS, remote.manifest ?? NO_CLAIMS);
    const mediaType = typeOf(claims, merged.deleted)?.mediaType ?? latest.manifest.mediaType;
    const found = this.#found(latest, { ...latest.manifest, mediaType }, latest === local ? node.database : central);
    // The node also stores what it does not know yet about a manifest that it has: its tag, or its media type.
    const isNew = tag !== nodeRows.tag || (latest === local && local.manifest?.mediaType !== mediaType);
    return { ...found, tag, keep: found.keep || isNew };
  }

  /**
   * Stores a manifest and its tag from central at the node, for the next read. They keep their versions and get no
   * outbox entry, because central has them.
   */
  async #keep(
    repository: RepositoryName,
    reference: Reference,
    digest: Digest,
    tag: AuthoredTag | undefined,
  ): Promise<void> {
    const { node, central, options } = this.#federation;
    const heads = await readHeads(central.database, [{ repository, digest }]);
    const { manifests, blobs } = await readManifests(central.database, node.name, heads);
    const tags = reference.kind === 'tag' && tag !== undefined ? [{ ...tag, repository, name: reference.tag }] : [];
    if (manifests.length === 0) return;
    const merged = mergeRows({ tags, lifecycles: [], manifests, blobs }, options.now());
    const kept = [...merged, ...leaveToCentral(manifests, tags)];
    await node.database.batch(kept, { again: true });
    // Somebody has just pulled the image, so it must not be the first to be evicted, however old it is.
    await recordPull(node.database, repository, digest, hourOf(options.now()));
  }

  #recordPull({ repository }: ReadAccess, { digest, lastPull }: ManifestRow): void {
    const { node, options } = this.#federation;
    const hour = hourOf(options.now());
    if (lastPull < hour) options.defer(recordPull(node.database, repository, digest, hour));
  }
}

/** Returns whether a store can serve the manifest by its own rows. */
function isHeld({ tag, manifest }: ManifestRows, reference: Reference): boolean {
  return manifest !== undefined && resolves(reference, tag, manifest);
}

function isUnknown(error: unknown): boolean {
  return error instanceof OciError && (error.kind === 'MANIFEST_UNKNOWN' || error.kind === 'NAME_UNKNOWN');
}

function hourOf(milliseconds: number): number {
  return Math.floor(milliseconds / HOUR) * HOUR;
}
