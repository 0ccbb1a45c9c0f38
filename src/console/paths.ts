/**
 * Paths of the console's pages, and of the APIs that they read. A page of an image has the path that people write:
 * `/images/alice/app:latest`, or `/images/alice/app@sha256:…`.
 */

/** Returns the path of a repository's page. */
export function repositoryPath(repository: string): string {
  return `/images/${repository}`;
}

/** Returns the path of an image's page. @param reference a tag or a digest */
export function imagePath(repository: string, reference: string): string {
  return `/images/${titleOf(repository, reference)}`;
}

/** Returns the route of a page about a repository. @param tail such as `/-/delete` */
export function repositoryRoute(tail = ''): string {
  return `/images/:repository{[^:@]+${tail === '' ? '' : `(?=${tail}$)`}}${tail}`;
}

/** Returns the route of a page about an image. @param tail such as `/history` */
export function imageRoute(tail = ''): string {
  return `/images/:image{[^:@]+[:@][^/]+${tail === '' ? '' : `(?=${tail}$)`}}${tail}`;
}

/** Splits a path that {@link imageRoute} has matched. */
export function splitImage(image: string): { readonly repository: string; readonly reference: string } {
  const end = image.search(/[:@]/);
  return { repository: image.slice(0, end), reference: image.slice(end + 1) };
}

/** Tells a tag from a digest. */
export function isTag(reference: string): boolean {
  return !reference.includes(':');
}

/** Returns an image as people write it. @param reference a tag or a digest */
export function titleOf(repository: string, reference: string): string {
  return `${repository}${isTag(reference) ? ':' : '@'}${reference}`;
}

/** Returns the path of an organization in the management API. */
export function apiOrganization(organization: string): string {
  return `/api/organizations/${encodeURIComponent(organization)}`;
}

/** Returns the path of a repository in the management API. */
export function apiRepository(repository: string): string {
  const [organization = '', ...path] = repository.split('/');
  return `${apiOrganization(organization)}/repositories/${encodeURIComponent(path.join('/'))}`;
}

/** Returns the path of an image in the management API. */
export function apiImage(repository: string, reference: string): string {
  return `${apiRepository(repository)}/images/${encodeURIComponent(reference)}`;
}

/** Returns a path with a query. Empty values are left out. */
export function withQuery(path: string, query: Readonly<Record<string, string | number>>): string {
  const given = Object.entries(query).flatMap(([name, value]) => (value === '' ? [] : [[name, String(value)]]));
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given).toString()}`;
}
