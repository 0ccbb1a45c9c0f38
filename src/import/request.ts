/** The request for an import. This file is pure. */
import { type Credential, matches, type RepositoryPattern } from '../auth/credential.ts';
import { OciError } from '../oci/errors.ts';
import { isRepositoryName, isTag, nameProblem, type OrganizationName, type RepositoryName } from '../oci/reference.ts';
import { parseUpstream, type Reach } from '../upstream/address.ts';
import { isGlob, matchesGlob } from '../oci/glob.ts';

export interface ImportRequest {
  /** The URL of a registry, or the name of a preset. */
  readonly from: string;
  /** A host besides the registry's own that may be told the credential. */
  readonly loginHost: string | undefined;
  /** Names, or patterns of names. */
  readonly repositories: readonly string[];
  /** Names, or patterns of names. */
  readonly tags: readonly string[];
  /** Such as `linux/amd64`; undefined for all. */
  readonly platforms: readonly string[] | undefined;
  readonly referrers: boolean;
  /** The name within the organization. `*` stands for the upstream's name. */
  readonly as: string;
  readonly isDry: boolean;
  /** Milliseconds from one run to the next of an import that is kept in step; undefined for one run. */
  readonly every: number | undefined;
  /** Whether tags that the upstream has removed are removed, if the import set them. */
  readonly prunes: boolean;
}

/** The caller that an import pushes for. */
export interface Importer {
  /** The id of its credential. */
  readonly id: string;
  /** The credential's name, which the history of tags shows; undefined if it has none. */
  readonly name?: string | undefined;
  /** Whether the credential is stored, so that the import must end when it is removed. */
  readonly isStored: boolean;
  /** The repositories that it may push to. */
  readonly patterns: readonly RepositoryPattern[];
}

/** @throws OciError DENIED if the caller may not push to the organization, or delete from it if the import prunes */
export function importerOf(credential: Credential, organization: OrganizationName, prunes: boolean): Importer {
  const { id, name } = credential;
  // Every stored credential has a name. Platforms' tokens and the bootstrap secret have none.
  const isStored = name !== undefined;
  if (credential.kind === 'administrator') return { id, name, isStored, patterns: [`${organization}/*`] };
  const mayPush =
    credential.kind === 'organization' &&
    credential.organization === organization &&
    credential.rights.includes('push');
  if (mayPush && prunes && !credential.rights.includes('delete'))
    throw new OciError('DENIED', { message: `this credential may not delete from ${organization}` });
  if (mayPush) return { id, name, isStored, patterns: credential.repositories };
  throw new OciError('DENIED', { message: `this credential may not push to ${organization}` });
}

/**
 * Checks a request.
 * @throws OciError FIELD_INVALID, DENIED for a repository that the importer may not push to
 */
export function checkImport(
  organization: OrganizationName,
  request: ImportRequest,
  importer: Pick<Importer, 'patterns'>,
  reach: Reach,
): void {
  const upstream = parseUpstream(request.from, request.loginHost, reach);
  const globs = request.repositories.filter(isGlob);
  if (globs.length > 0 && !upstream.hasCatalog) {
    throw invalid('repositories', `${upstream.url.host} does not list its repositories: name each of them in full`);
  }
  const isForMany = globs.length > 0 || request.repositories.length > 1;
  if (isForMany && !isGlob(request.as)) {
    throw invalid('as', 'would give several repositories one name: write * where the name of each goes');
  }
  if (request.prunes && request.every === undefined) throw invalid('prune', 'needs every_seconds');
  if (request.isDry && request.every !== undefined) throw invalid('dry_run', 'an import in step copies what it counts');
  const badTag = request.tags.find((tag) => !isGlob(tag) && !isTag(tag));
  if (badTag !== undefined) throw invalid('tags', `${badTag.slice(0, 100)} is not a tag`);
  for (const name of request.repositories) {
    if (isGlob(name)) continue;
    if (nameProblem(`o/${name}`) !== undefined) throw invalid('repositories', `${name.slice(0, 100)} is not a name`);
    const target = targetOf(organization, request, name);
    if (target === undefined) throw invalid('as', `makes no valid name of ${name}`);
    if (!mayImportTo(importer, target))
      throw new OciError('DENIED', { message: `this credential may not push to ${target}` });
  }
}

/** Returns the repository that an upstream's repository is copied to; undefined if it would have no valid name. */
export function targetOf(
  organization: OrganizationName,
  { as }: Pick<ImportRequest, 'as'>,
  name: string,
): RepositoryName | undefined {
  const target = `${organization}/${as.replaceAll('*', () => name)}`;
  return isRepositoryName(target) ? target : undefined;
}

export function mayImportTo({ patterns }: Pick<Importer, 'patterns'>, repository: RepositoryName): boolean {
  return patterns.some((pattern) => matches(pattern, repository));
}

/** Returns whether any of the names and patterns means this name. */
export function isWanted(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matchesGlob(pattern, name));
}

function invalid(field: string, problem: string): OciError {
  return new OciError('FIELD_INVALID', { message: `${field}: ${problem}`, detail: { field } });
}
