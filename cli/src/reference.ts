/** Names of images as people type them: `[host/]repository[:tag][@digest]`. */
import { parseAnyDigest } from '../../src/oci/digest.ts';
import { OciError } from '../../src/oci/errors.ts';
import { nameProblem, parseTag } from '../../src/oci/reference.ts';
import { WrongUse } from './errors.ts';

/** A repository at a host. The host is `host[:port]`. */
export interface RepositoryReference {
  readonly host: string;
  readonly repository: string;
}

export interface ImageReference extends RepositoryReference {
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

/**
 * Splits a name into its host and its path. As docker does, it takes the first part for a host if that has a dot or a
 * port, or is `localhost`. A text without a host refers to `BERTH_HOST`.
 * @param text `host`, `host/path` or `path`
 * @throws WrongUse if there is no host
 */
export function splitHost(text: string): { readonly host: string; readonly path: string } {
  const slash = text.indexOf('/');
  const first = slash === -1 ? text : text.slice(0, slash);
  if (/[.:]|^localhost$/.test(first)) return { host: first, path: slash === -1 ? '' : text.slice(slash + 1) };
  const host = process.env['BERTH_HOST'] ?? '';
  if (host !== '') return { host, path: text };
  throw new WrongUse(`${text} does not name a registry: write HOST/${text}, or set BERTH_HOST`);
}

/** Parses the name of an organization, as {@link splitHost} does. @throws WrongUse */
export function organizationIn(text: string): { readonly host: string; readonly path: string } {
  const found = splitHost(text);
  if (found.path === '') throw new WrongUse(`${text} does not name an organization: write ${text}/ORG`);
  return found;
}

/** Parses a repository's name. @throws WrongUse */
export function parseRepositoryReference(text: string): RepositoryReference {
  const { host, repository, tag, digest } = parseImageReference(text);
  if (tag === undefined && digest === undefined) return { host, repository };
  throw new WrongUse(`${text} names an image: leave out its tag and digest to name the repository`);
}

/** Parses the name of an image, or of a repository. @throws WrongUse */
export function parseImageReference(text: string): ImageReference {
  const [, name = '', tag, digest] = /^([^@]*?)(?::([^/:@]*))?(?:@(.*))?$/.exec(text) ?? [];
  const { host, path: repository } = splitHost(name);
  const problem = nameProblem(repository);
  if (repository === '') throw new WrongUse(`${text} does not name a repository: write ${host}/ORGANIZATION/NAME`);
  // NAME_UNKNOWN is about Berth: other registries have repositories whose names have one part.
  if (problem?.kind === 'NAME_INVALID') throw new WrongUse(`${text}: ${problem.message}`);
  try {
    if (tag !== undefined) parseTag(tag);
    if (digest !== undefined) parseAnyDigest(digest, 'the reference');
  } catch (error) {
    if (error instanceof OciError) throw new WrongUse(`${text}: ${error.message}`);
    throw error;
  }
  return { host, repository, tag, digest };
}

/** Returns the image's reference at its registry: its digest if it has one, else its tag, else `latest`. */
export function referenceOf({ tag, digest }: ImageReference): string {
  return digest ?? tag ?? 'latest';
}
