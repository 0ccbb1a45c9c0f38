/**
 * Hosts of mirrors, for clients that can name a mirror by its host alone, as docker can (`registry-mirrors`). A request
 * for `library/alpine` at the host of the organization `hub` is one for `hub/library/alpine`.
 */
import type { OrganizationName } from '../oci/reference.ts';

const ROOT = '/v2/';
/** The rest, after {@link ROOT}, of paths that name no repository. */
const WITHOUT_REPOSITORY: ReadonlySet<string> = new Set(['', '_catalog']);
/** The headers of answers that have paths. */
const WITH_PATHS = ['Link', 'Location'];

/** Returns the path that a client's path at the host of an organization stands for. */
export function pathWithin(organization: OrganizationName, path: string): string {
  const rest = path.slice(ROOT.length);
  return path.startsWith(ROOT) && !WITHOUT_REPOSITORY.has(rest) ? `${ROOT}${organization}/${rest}` : path;
}

/** Returns the scopes that a client's scopes stand for. A client may have taken a whole name from a challenge. */
export function scopesWithin(organization: OrganizationName, scopes: readonly string[]): readonly string[] {
  const within = scopes.map((scope) =>
    scope.replaceAll(/(^| )(repository(?:\([a-z0-9]+\))?:)/g, `$1$2${organization}/`),
  );
  return [...within, ...scopes.filter((scope) => scope.includes(`:${organization}/`))];
}

/** Shortens the paths in an answer to those of the organization's host. */
export function showPathsWithin(organization: OrganizationName, headers: Headers): void {
  for (const name of WITH_PATHS) {
    const value = headers.get(name);
    if (value !== null) headers.set(name, value.replaceAll(`${ROOT}${organization}/`, ROOT));
  }
}
