import { type Digest, parseAnyDigest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';

declare const brand: unique symbol;

/** `<organization>/<path…>`, by the distribution spec's grammar, at most 255 characters. */
export type RepositoryName = string & { readonly [brand]: 'RepositoryName' };
/** The first component of a repository name. */
export type OrganizationName = string & { readonly [brand]: 'OrganizationName' };
/** distribution-spec, "Pulling manifests": `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` */
export type Tag = string & { readonly [brand]: 'Tag' };

export type Reference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest };

/** Longest repository name: many clients limit it, host included, to 255 (distribution-spec, "Pulling manifests"). */
export const MAX_NAME_LENGTH = 255;

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const ORGANIZATION = new RegExp(`^${COMPONENT}$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/**
 * @throws OciError saying what is wrong: NAME_INVALID for what the spec does not permit, NAME_UNKNOWN for what it does,
 * and no repository here can have
 */
export function parseRepositoryName(text: string): RepositoryName {
  const problem = nameProblem(text);
  if (problem === undefined) return text as RepositoryName;
  throw new OciError(problem.kind, { message: problem.message, detail: { name: text.slice(0, 300) } });
}

export function isRepositoryName(text: string): text is RepositoryName {
  return nameProblem(text) === undefined;
}

export interface NameProblem {
  readonly kind: 'NAME_INVALID' | 'NAME_UNKNOWN';
  readonly message: string;
}

/** What is wrong with a name, as {@link parseRepositoryName} says it; undefined for one that a repository can have. */
export function nameProblem(text: string): NameProblem | undefined {
  if (!NAME.test(text)) {
    const message =
      text === text.toLowerCase()
        ? 'a repository name is made of lowercase letters and digits, separated by ".", "_", "__", "-" or "/"'
        : 'a repository name must be lowercase';
    return { kind: 'NAME_INVALID', message };
  }
  if (text.length > MAX_NAME_LENGTH) {
    return { kind: 'NAME_UNKNOWN', message: `a repository name has at most ${MAX_NAME_LENGTH} characters` };
  }
  if (text.includes('/')) return undefined;
  return { kind: 'NAME_UNKNOWN', message: `a repository name starts with its organization: <organization>/${text}` };
}

export function isOrganizationName(text: string): text is OrganizationName {
  return text.length <= 128 && ORGANIZATION.test(text);
}

export function organizationOf(repository: RepositoryName): OrganizationName {
  return repository.slice(0, repository.indexOf('/')) as OrganizationName;
}

/** @throws OciError TAG_INVALID */
export function parseTag(text: string): Tag {
  if (!TAG.test(text)) throw new OciError('TAG_INVALID', { detail: { tag: text.slice(0, 200) } });
  return text as Tag;
}

/**
 * What a manifest can be pushed by. A tag can't hold a colon and a digest always does.
 * @throws OciError DIGEST_INVALID or TAG_INVALID
 */
export function parseReference(text: string): Reference {
  return text.includes(':')
    ? { kind: 'digest', digest: parseDigest(text, 'the reference') }
    : { kind: 'tag', tag: parseTag(text) };
}

/**
 * What is asked for or deleted. A tag that no push can set is one that nothing has, as is a digest of another
 * algorithm: a 404 (distribution-spec, "Pulling manifests").
 * @throws OciError DIGEST_INVALID for a malformed digest
 */
export function parseAnyReference(text: string): Reference {
  return text.includes(':')
    ? { kind: 'digest', digest: parseAnyDigest(text, 'the reference') }
    : { kind: 'tag', tag: text as Tag };
}
