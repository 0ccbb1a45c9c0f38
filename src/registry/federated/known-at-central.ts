/**
 * A manifest or tag that central already has adds nothing to what an organization uses. A node still counts it as new
 * until it has announced it. So when a push exceeds a quota at a node, this module checks what central already has of
 * the push.
 */
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { lifecycleOf, lookUpVersions } from '../../stores/list-rows.ts';
import type { KnownAtCentral } from '../../stores/organizations/organization-limits.ts';
import { isAlive, isVisible } from '../../stores/versions.ts';
import { answerOfCentral, type Federation } from './central.ts';

/**
 * Returns what central already has of a push that exceeded a quota.
 * @param refusal the error of the push
 * @throws the refusal itself, if it is not QUOTA_EXCEEDED, central does not answer, or central has nothing of the push
 */
export async function requireKnownAtCentral(
  { central }: Federation,
  repository: RepositoryName,
  digest: Digest,
  tags: readonly Tag[],
  refusal: unknown,
): Promise<KnownAtCentral> {
  if (!(refusal instanceof OciError) || refusal.kind !== 'QUOTA_EXCEEDED') throw refusal;
  // The look-up of a tag also returns its manifest.
  const remote = await answerOfCentral(lookUpVersions(central.database, repository, tags, [digest])).catch(
    (error: unknown) => {
      throw isUnavailable(error) ? refusal : error;
    },
  );
  const known = {
    manifest: isAlive(lifecycleOf(remote, digest)),
    tags: tags.filter((name) => {
      const tag = remote.tags.get(name);
      return isVisible(tag, lifecycleOf(remote, tag?.digest ?? digest));
    }),
  };
  if (!known.manifest && known.tags.length === 0) throw refusal;
  return known;
}
