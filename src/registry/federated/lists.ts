/**
 * Lists at a node merge a page of the node's store with a page of central's. The merged page ends at the lower of the
 * two pages' last keys; items beyond it are left for the next page. An item that only one store shows is looked up in
 * the other, where a tombstone may hide it.
 */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { raiseClockTo } from '../../stores/clock.ts';
import {
  compareReferrers,
  type KnownVersions,
  lifecycleOf,
  listReferrers,
  listRepositories,
  listTags,
  lookUpVersions,
  type NamedTag,
  type ReferrerRow,
  type Referrers,
} from '../../stores/list-rows.ts';
import {
  compareTags,
  isAlive,
  isVisible,
  type ManifestVersions,
  mergeManifests,
  mergeTags,
  NO_MANIFEST,
  type TagVersion,
  underRemoval,
} from '../../stores/versions.ts';
import type { PullableRepositories, ReadAccess } from '../access.ts';
import { nameUnknown, pageOf, requirePublic } from '../answers.ts';
import { answerOfCentral, type Federation } from './central.ts';
import type { MakeRoom, Page, PageRequest, Referrer, Registry } from '../registry.ts';
import { MAX_REFERRERS_BYTES, positionOf, referrerOf, referrerPosition } from '../referrers.ts';

/** The most pages of both stores read for one page of a list, if deletions in one store hide items of the other. */
const ROUNDS = 5;

const NOTHING_KNOWN: KnownVersions = { tags: new Map(), manifests: new Map(), removed: 0 };

export class FederatedLists implements Pick<Registry, 'listTags' | 'listReferrers' | 'listRepositories'> {
  readonly #federation: Federation;

  constructor(federation: Federation) {
    this.#federation = federation;
  }

  async listTags(access: ReadAccess, { limit, after }: PageRequest): Promise<Page<Tag>> {
    const { node, central } = this.#federation;
    const { repository } = access;
    const names: Tag[] = [];
    let from = after;
    for (let round = 0; ; round++) {
      const [local, remote] = await Promise.all([
        listTags(node.database, repository, from, limit + 1),
        answerOfCentral(listTags(central.database, repository, from, limit + 1)),
      ]);
      requirePublic(access, local.public);
      if (!local.exists && !remote.exists) throw nameUnknown(repository);
      const cut = lowerEnd([local.tags, remote.tags], limit + 1, ({ name }) => name);
      const pages = [upTo(local.tags, cut), upTo(remote.tags, cut)] as const;
      names.push(...(await this.#visibleTags(repository, ...pages, local.removed, remote.removed)));
      if (cut === undefined || names.length > limit) return pageOf(names, limit, (name) => name);
      from = cut;
      if (round === ROUNDS - 1) return { items: names, last: cut };
    }
  }

  async listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    { limit, after }: PageRequest,
    makeRoom?: MakeRoom,
  ): Promise<Page<Referrer>> {
    const { node, central, options } = this.#federation;
    const { repository } = access;
    const rows: ReferrerRow[] = [];
    let from = after;
    for (let round = 0; ; round++) {
      const page = { artifactType, after: referrerPosition(from), limit, maxBytes: MAX_REFERRERS_BYTES };
      const ask = (whole: boolean): Promise<[Referrers, Referrers]> =>
        Promise.all([
          listReferrers(node.database, repository, subject, { ...page, whole }),
          answerOfCentral(listReferrers(central.database, repository, subject, { ...page, whole })),
        ]);
      let [local, remote] = await ask(false);
      requirePublic(access, local.public);
      const withheld = local.withheld + remote.withheld;
      // A request reserves memory for large documents only once: it must not wait for more while it holds some.
      if (withheld > 0 && round > 0) return { items: rows.map(referrerOf), last: from };
      if (withheld > 0) {
        await makeRoom?.(withheld);
        [local, remote] = await ask(true);
        requirePublic(access, local.public);
      }
      // Compare as the stores order their rows.
      const ends = [local, remote].flatMap(({ more, referrers }) => (more ? referrers.slice(-1) : []));
      const cut = ends.toSorted(compareReferrers)[0];
      const isWithin = (row: ReferrerRow): boolean => cut === undefined || compareReferrers(row, cut) <= 0;
      const both = new Map([...remote.referrers, ...local.referrers].filter(isWithin).map((row) => [row.digest, row]));
      const candidates = [...both.values()].toSorted(compareReferrers);
      const digests = candidates.map(({ digest }) => digest);
      const missingAt = (shown: readonly ReferrerRow[]): Digest[] => {
        const known = new Set(shown.map(({ digest }) => digest));
        return digests.filter((digest) => !known.has(digest));
      };
      const [ofNode, ofCentral] = await this.#lookUp(
        repository,
        [],
        missingAt(local.referrers),
        [],
        missingAt(remote.referrers),
      );
      const removed = Math.max(local.removed, remote.removed);
      const known = lifecycleIn(local.referrers, remote.referrers, ofNode, ofCentral);
      const lifecycles = (digest: Digest): ManifestVersions => underRemoval(known(digest), removed);
      const seen = Math.max(
        remote.removed,
        ...digests.map((digest) => Math.max(lifecycles(digest).created, lifecycles(digest).deleted)),
      );
      await raiseClockTo(node.database, seen, options.now());
      rows.push(...candidates.filter(({ digest }) => isAlive(lifecycles(digest))));
      const shown = rows.slice(0, limit);
      const last = shown.at(-1);
      if (rows.length > limit && last !== undefined) return { items: shown.map(referrerOf), last: positionOf(last) };
      if (cut === undefined) return { items: shown.map(referrerOf), last: undefined };
      from = positionOf(cut);
      if (rows.length === limit || round === ROUNDS - 1) return { items: shown.map(referrerOf), last: from };
    }
  }

  /**
   * Lists the repositories that hold a live manifest in either store. A repository that was emptied elsewhere
   * disappears once the node has applied the change log.
   */
  async listRepositories(
    { ranges, withPublic }: PullableRepositories,
    { limit, after }: PageRequest,
  ): Promise<Page<RepositoryName>> {
    const { node, central } = this.#federation;
    const [local, remote] = await Promise.all([
      listRepositories(node.database, ranges, withPublic, after, limit + 1),
      answerOfCentral(listRepositories(central.database, ranges, withPublic, after, limit + 1)),
    ]);
    const names = [...new Set([...local, ...remote])].toSorted();
    return pageOf(names, limit, (name) => name);
  }

  async #visibleTags(
    repository: RepositoryName,
    local: readonly NamedTag[],
    remote: readonly NamedTag[],
    removedAtNode: number,
    removedAtCentral: number,
  ): Promise<Tag[]> {
    const { node, options } = this.#federation;
    const removed = Math.max(removedAtNode, removedAtCentral);
    const shown = (tags: readonly NamedTag[]): Map<Tag, NamedTag> =>
      new Map(tags.filter(({ version }) => version > removed).map((tag) => [tag.name, tag]));
    const [localTags, remoteTags] = [shown(local), shown(remote)];
    const names = [...new Set([...localTags.keys(), ...remoteTags.keys()])].toSorted();
    // If both stores show the same write, the tag is visible. For other tags, each store may know what the other lacks.
    const doubtful = names.filter((name) => !isSameWrite(localTags.get(name), remoteTags.get(name)));
    const digests = doubtful.flatMap((name) =>
      [localTags.get(name)?.digest, remoteTags.get(name)?.digest].filter((d) => d != null),
    );
    const [ofNode, ofCentral] = await this.#lookUp(repository, doubtful, digests, doubtful, digests);
    const seen = Math.max(
      removedAtCentral,
      ...remote.map(({ version }) => version),
      ...[...ofCentral.tags.values()].map(({ version }) => version),
      ...[...ofCentral.manifests.values()].map(({ created, deleted }) => Math.max(created, deleted)),
    );
    await raiseClockTo(node.database, seen, options.now());
    const isDoubtful = new Set(doubtful);
    return names.filter((name) => {
      if (!isDoubtful.has(name)) return true;
      const tag = mergeTags(ofNode.tags.get(name), ofCentral.tags.get(name));
      if (tag?.digest == null) return false;
      return isVisible(tag, mergeManifests(lifecycleOf(ofNode, tag.digest), lifecycleOf(ofCentral, tag.digest)));
    });
  }

  async #lookUp(
    repository: RepositoryName,
    tagsAtNode: readonly Tag[],
    digestsAtNode: readonly Digest[],
    tagsAtCentral: readonly Tag[],
    digestsAtCentral: readonly Digest[],
  ): Promise<[KnownVersions, KnownVersions]> {
    const { node, central } = this.#federation;
    return Promise.all([
      tagsAtNode.length + digestsAtNode.length === 0
        ? NOTHING_KNOWN
        : lookUpVersions(node.database, repository, tagsAtNode, digestsAtNode),
      tagsAtCentral.length + digestsAtCentral.length === 0
        ? NOTHING_KNOWN
        : answerOfCentral(lookUpVersions(central.database, repository, tagsAtCentral, digestsAtCentral)),
    ]);
  }
}

function isSameWrite(a: TagVersion | undefined, b: TagVersion | undefined): boolean {
  return a !== undefined && b !== undefined && compareTags(a, b) === 0;
}

/** Returns the lower of the last keys of the full pages; undefined if neither page is full. */
function lowerEnd<Item>(
  pages: readonly (readonly Item[])[],
  full: number,
  key: (item: Item) => string,
): string | undefined {
  const ends = pages.flatMap((page) => (page.length >= full ? page.slice(-1).map(key) : []));
  return ends.toSorted()[0];
}

function upTo(tags: readonly NamedTag[], cut: string | undefined): readonly NamedTag[] {
  return cut === undefined ? tags : tags.filter(({ name }) => name <= cut);
}

function byDigest(rows: readonly ReferrerRow[]): ReadonlyMap<Digest, ReferrerRow> {
  return new Map(rows.map((row) => [row.digest, row]));
}

function lifecycleIn(
  local: readonly ReferrerRow[],
  remote: readonly ReferrerRow[],
  ofNode: KnownVersions,
  ofCentral: KnownVersions,
): (digest: Digest) => { created: number; deleted: number } {
  const [localRows, remoteRows] = [byDigest(local), byDigest(remote)];
  return (digest) =>
    mergeManifests(
      localRows.get(digest) ?? ofNode.manifests.get(digest) ?? NO_MANIFEST,
      remoteRows.get(digest) ?? ofCentral.manifests.get(digest) ?? NO_MANIFEST,
    );
}
