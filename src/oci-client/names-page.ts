/** Lists of names in pages, each of which links to the next (distribution-spec, "Listing Tags"; RFC 8288). */
import { MAX_MANIFEST_BYTES } from '../oci/manifest-limits.ts';
import { bytesUpTo, textOf } from './answer.ts';
import { objectIn } from './descriptor.ts';
import type { Host } from './host.ts';
import { RegistryError } from './registry-error.ts';

export interface NamesPage {
  readonly names: readonly string[];
  /** The address of the next page; undefined on the last. */
  readonly next: URL | undefined;
}

export interface NamesList {
  /** The field of the answer that has the names. */
  readonly field: 'tags' | 'repositories';
  readonly scope: string;
  readonly signal: AbortSignal | undefined;
}

/** Reads a page; undefined if there is no such list. @throws RegistryError, TransportError, ContentError */
export async function namesPage(
  host: Host,
  target: string | URL,
  { field, scope, signal }: NamesList,
): Promise<NamesPage | undefined> {
  const response = await host.callAgain({ method: 'GET', target, scope, expect: [200, 404], signal });
  if (response.status === 404) {
    await textOf(response);
    return undefined;
  }
  const bytes = await bytesUpTo(response, MAX_MANIFEST_BYTES);
  const list = objectIn(bytes, `the list of ${field} of ${host.url.host}`)[field];
  // Registries in Go answer null for an empty list. Without the field, it is some other document.
  if (!Array.isArray(list) && list !== null)
    throw new RegistryError(host.url.host, response, `the answer has no list of ${field}`);
  const names = (list ?? []).filter((name): name is string => typeof name === 'string');
  return { names, next: nextPage(response, new URL(target, host.url)) };
}

/** Lists a page of the repositories of a registry, the first by default; undefined if it does not list them. */
export function repositoriesPage(
  host: Host,
  target: string | URL = '/v2/_catalog?n=1000',
  signal?: AbortSignal,
): Promise<NamesPage | undefined> {
  return namesPage(host, target, { field: 'repositories', scope: 'registry:catalog:*', signal });
}

/** Returns the address of the page that follows; undefined for the last. */
export function nextPage({ headers }: Response, page: URL): URL | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(headers.get('link') ?? '')?.[1];
  return target !== undefined && URL.canParse(target, page) ? new URL(target, page) : undefined;
}
