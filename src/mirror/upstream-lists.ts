/** Lists of an upstream, for clients that ask for them. Their bytes are on loan from the isolate's budget. */
import type { Descriptor } from '../oci-client/descriptor.ts';
import { MAX_REFERRERS_BYTES, type Repository } from '../oci-client/repository.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest-limits.ts';
import { isTag, type RepositoryName } from '../oci/reference.ts';
import type { PageRequest } from '../registry/registry.ts';
import { SMALL_DOCUMENT_BYTES } from '../stores/manifests/manifest-rows.ts';
import type { Mirror } from '../stores/organizations/mirrors.ts';
import { isolateBudget } from '../stores/uploads/buffer-budget.ts';
import type { Failure, ReferrersAnswer, TagsAnswer } from './answers.ts';
import { isAbsence } from './reach-upstream.ts';
import type { UpstreamClient } from './upstream-client.ts';

/** The most referrers of a manifest that are listed. */
const MAX_REFERRERS = 1000;

/** Lists tags, in the upstream's order. @param after the last tag of the page before; '' for the first page */
export function tagsAt(
  upstream: UpstreamClient,
  mirror: Mirror,
  repository: RepositoryName,
  after: string,
  limit: number,
): Promise<TagsAnswer> {
  return answered<TagsAnswer>(upstream, mirror, repository, MAX_MANIFEST_BYTES, async (source) => {
    const query = new URLSearchParams({ n: String(limit), ...(after === '' ? {} : { last: after }) });
    const page = await source.tagsPage(`/v2/${source.name}/tags/list?${query.toString()}`);
    const all = page?.names.filter(isTag) ?? [];
    const tags = all.slice(0, limit);
    const isLast = page?.next === undefined && all.length <= limit;
    return { tags: page && tags, last: isLast ? undefined : tags.at(-1) };
  });
}

/** Lists the first referrers of a manifest. */
export function referrersAt(
  upstream: UpstreamClient,
  mirror: Mirror,
  repository: RepositoryName,
  subject: Digest,
): Promise<ReferrersAnswer> {
  return answered<ReferrersAnswer>(upstream, mirror, repository, MAX_REFERRERS_BYTES, async (source) => {
    const found = await source.referrers(subject, MAX_REFERRERS);
    return { referrers: found.slice(0, MAX_REFERRERS) };
  });
}

/** Returns a page of referrers, in the order of their digests. A page is small enough to be read without a loan. */
export function pageOfReferrers(
  all: readonly Descriptor[],
  artifactType: string | undefined,
  { after, limit }: PageRequest,
): ReferrersAnswer {
  const found = all
    .filter((each) => artifactType === undefined || each.artifactType === artifactType)
    .filter(({ digest }) => digest > after)
    .toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
    .map(withoutLargeAnnotations);
  let left = SMALL_DOCUMENT_BYTES;
  const isWithin = (each: Descriptor): boolean => (left -= JSON.stringify(each).length) >= 0;
  const end = found.findIndex((each, i) => i === limit || (!isWithin(each) && i > 0));
  const items = end === -1 ? found : found.slice(0, end);
  return { referrers: items, last: end === -1 ? undefined : items.at(-1)?.digest };
}

function withoutLargeAnnotations({ annotations, ...rest }: Descriptor): Descriptor {
  const isLarge = JSON.stringify(annotations ?? {}).length > SMALL_DOCUMENT_BYTES;
  return isLarge || annotations === undefined ? rest : { ...rest, annotations };
}

/** Reads a list of at most so many bytes. A paused upstream takes no memory. */
async function answered<Answer extends object>(
  upstream: UpstreamClient,
  mirror: Mirror,
  repository: RepositoryName,
  bytes: number,
  read: (source: Repository) => Promise<Answer>,
): Promise<Answer | { readonly failure?: Failure }> {
  try {
    const source = upstream.repository(mirror, repository);
    const loan = await isolateBudget.wait(bytes, 0, undefined, mirror.organization);
    try {
      return await read(source);
    } finally {
      isolateBudget.giveBack(loan);
    }
  } catch (error) {
    return isAbsence(error) ? {} : { failure: upstream.failure(mirror, error, false) };
  }
}
