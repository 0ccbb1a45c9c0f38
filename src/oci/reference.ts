import { type Digest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';

declare const brand: unique symbol;

/** `<organization>/<path…>`, by the distribution spec's grammar, at most 255 characters. */
export type RepositoryName = string & { readonly [brand]: 'RepositoryName' };
/** The first component of a repository name. */
export type OrganizationName = string & { readonly [brand]: 'OrganizationName' };
/** distribution-spec, "Pulling manifests": `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` */
export type Tag = string & { readonly [brand]: 'Tag' };

export type Reference = { readonly kind: 'tag'; readonly tag: Tag } | { readonly kind: 'digest'; readonly digest: Digest };

/** Longest repository name: many clients limit it, host included, to 255 (distribution-spec, "Pulling manifests"). */
export const MAX_NAME_LENGTH = 255;

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const ORGANIZATION = new RegExp(`^${COMPONENT}$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** @throws OciError NAME_INVALID, saying what is wrong */
export function parseRepositoryName(text: string): RepositoryName {
  const problem = nameProblem(text);
  if (problem !== undefined) throw new OciError('NAME_INVALID', { message: problem, detail: { name: text.slice(0, 300) } });
  return text as RepositoryName;
}

export function isRepositoryName(text: string): text is RepositoryName {
  return nameProblem(text) === undefined;
}

function nameProblem(text: string): string | undefined {
  if (text.length > MAX_NAME_LENGTH) return `a repository name has at most ${MAX_NAME_LENGTH} characters`;
  if (!NAME.test(text)) {
    return text === text.toLowerCase()
      ? 'a repository name is made of lowercase letters and digits, separated by ".", "_", "__", "-" or "/"'
      : 'a repository name must be lowercase';
  }
  if (!text.includes('/')) return `a repository name starts with its organization: <organization>/${text}`;
  return undefined;
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
 * A tag can't hold a colon and a digest always does.
 * @throws OciError DIGEST_INVALID or TAG_INVALID
 */
export function parseReference(text: string): Reference {
  return text.includes(':')
    ? { kind: 'digest', digest: parseDigest(text, 'the reference') }
    : { kind: 'tag', tag: parseTag(text) };
}
