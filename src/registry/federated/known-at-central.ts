/**
 * What is at central already adds nothing to an organization, although a node counts it as its own until it has
 * announced it: so a push that a node has no room for is judged once more by what central has of it.
 */
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { lifecycleOf, lookUpVersions } from '../../stores/list-rows.ts';
import type { KnownAtCentral } from '../../stores/organizations/organization-limits.ts';
import { isAlive, isVisible } from '../../stores/versions.ts';
import { answerOfCentral, type Federation } from './central.ts';

/** @throws the refusal, where it is about something else, central is away, or has nothing of the push */
export async function requireKnownAtCentral(
  { central }: Federation,
  repository: RepositoryName,
  digest: Digest,
  tags: readonly Tag[],
  refusal: unknown,
): Promise<KnownAtCentral> {
  if (!(refusal instanceof OciError) || refusal.kind !== 'QUOTA_EXCEEDED') throw refusal;
  // With the tags come their manifests.
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
