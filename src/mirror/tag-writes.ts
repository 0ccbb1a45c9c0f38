/** Finds out from a store what became of a tag or a manifest that was pushed. */
import { MINUTE } from '../durations.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { versionOf } from '../stores/clock.ts';
import { lifecycleOf, lookUpVersions } from '../stores/list-rows.ts';
import { BEFORE_ALL, historyOfTag } from '../stores/manifests/tag-history.ts';
import type { Store } from '../stores/store.ts';
import { isAlive } from '../stores/versions.ts';

/**
 * How much earlier than its note a commit can seem to be, because another machine, whose clock may be
 * behind, assigned its version.
 */
const SKEW_MILLISECONDS = MINUTE;

/**
 * Returns the version with which a store committed a push of a tag; undefined if it did not, or if the tag was deleted
 * after that. Looks at the tag's history, because a mirror of another store may have written the tag since.
 * @param notedAt when the push was noted, in milliseconds since the epoch
 * @param entries how many writes a history keeps
 * @param mirror the author of deletions that do not count, as in {@link wasDeleted}
 */
export async function versionOfCommit(
  { name, database }: Store,
  repository: RepositoryName,
  tag: Tag,
  digest: Digest,
  notedAt: number,
  entries: number,
  mirror: string,
): Promise<number | undefined> {
  const { writes } = await historyOfTag(database, repository, tag, BEFORE_ALL, { entries, since: 0 }, entries + 1);
  const since = versionOf(notedAt - SKEW_MILLISECONDS);
  const last = writes.find(
    (write) =>
      (write.digest === null && write.author !== mirror) ||
      (write.digest === digest && write.origin === name && write.version >= since),
  );
  return last === undefined || last.digest === null ? undefined : last.version;
}

/**
 * Returns the version with which a store committed a push of a manifest without a tag; undefined if it did not, or if
 * the manifest was deleted after that.
 * @param notedAt when the push was noted, in milliseconds since the epoch
 */
export async function versionOfManifest(
  { database }: Store,
  repository: RepositoryName,
  digest: Digest,
  notedAt: number,
): Promise<number | undefined> {
  const manifest = lifecycleOf(await lookUpVersions(database, repository, [], [digest]), digest);
  const isOfPush = isAlive(manifest) && manifest.created >= versionOf(notedAt - SKEW_MILLISECONDS);
  return isOfPush ? manifest.created : undefined;
}

/**
 * Returns whether a tag was deleted after a version, at this registry or, once this store has heard of it, at another.
 * @param mirror the author of deletions that do not count, because a mirror follows its upstream with them
 */
export async function wasDeleted(
  { database }: Store,
  repository: RepositoryName,
  tag: Tag,
  version: number,
  mirror: string,
): Promise<boolean> {
  const write = (await lookUpVersions(database, repository, [tag], [])).tags.get(tag);
  return write?.digest === null && write.version > version && write.author !== mirror;
}
