import { type Digest, parseAnyDigest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';

declare const brand: unique symbol;

/** `<organization>/<path…>`, in the distribution spec's grammar, at most 255 characters. */
export type RepositoryName = string & { readonly [brand]: 'RepositoryName' };
/** The first component of a repository name. */
export type OrganizationName = string & { readonly [brand]: 'OrganizationName' };
/** distribution-spec, "Pulling manifests": `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` */
export type Tag = string & { readonly [brand]: 'Tag' };

export type Reference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest };

/**
 * The longest repository name, in characters. Many clients limit a name, host included, to 255 (distribution-spec,
 * "Pulling manifests").
 */
export const MAX_NAME_LENGTH = 255;

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const ORGANIZATION = new RegExp(`^${COMPONENT}$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/**
 * Parses the name of a repository.
 * @throws OciError NAME_INVALID for a name that the spec forbids; NAME_UNKNOWN for a name that the spec permits but no
 *   repository here can have. The message says what is wrong.
 */
export function parseRepositoryName(text: string): RepositoryName {
  const problem = nameProblem(text);
  if (problem === undefined) return text as RepositoryName;
  throw new OciError(problem.kind, { message: problem.message, detail: { name: text.slice(0, 300) } });
}

export function isRepositoryName(text: string): text is RepositoryName {
  return nameProblem(text) === undefined;
}

interface NameProblem {
  readonly kind: 'NAME_INVALID' | 'NAME_UNKNOWN';
  readonly message: string;
}

/**
 * Returns what is wrong with a name, as {@link parseRepositoryName} reports it; undefined for a name that a repository
 * can have.
 */
export function nameProblem(text: string): NameProblem | undefined {
  if (!NAME.test(text)) {
    const message =
      text === text.toLowerCase()
        ? 'a repository name consists of lowercase letters and digits, separated by ".", "_", "__", "-" or "/"'
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

export function isTag(text: string): text is Tag {
  return TAG.test(text);
}

/** @throws OciError TAG_INVALID */
export function parseTag(text: string): Tag {
  if (!isTag(text)) throw new OciError('TAG_INVALID', { detail: { tag: text.slice(0, 200) } });
  return text;
}

/**
 * Parses a reference under which a manifest is pushed. A digest always has a colon; a tag never does.
 * @throws OciError DIGEST_INVALID or TAG_INVALID
 */
export function parseReference(text: string): Reference {
  return text.includes(':')
    ? { kind: 'digest', digest: parseDigest(text, 'the reference') }
    : { kind: 'tag', tag: parseTag(text) };
}

/**
 * Parses a reference that is read or deleted. A tag that no push can set is accepted here, and so is a digest of
 * another algorithm: nothing has them, so the answer is a 404 (distribution-spec, "Pulling manifests").
 * @throws OciError DIGEST_INVALID for a malformed digest
 */
export function parseAnyReference(text: string): Reference {
  return text.includes(':')
    ? { kind: 'digest', digest: parseAnyDigest(text, 'the reference') }
    : { kind: 'tag', tag: text as Tag };
}
