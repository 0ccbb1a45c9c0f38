/**
 * If-Match and If-None-Match (RFC 9110 §13.1.1, §13.1.2). The entity tag of a manifest or a blob is its digest, so a
 * client that says which one it has seen does not overwrite or delete another.
 */
import type { Digest } from './digest.ts';

export interface Precondition {
  /** Entity tags of which one must be that of what is there; `*` is that of anything. Undefined without the header. */
  readonly ifMatch: readonly string[] | undefined;
  /** Entity tags of which none may be that of what is there. */
  readonly ifNoneMatch: readonly string[] | undefined;
}

/**
 * Reads the two headers. Digests without quotes pass. A weak tag never matches in If-Match, which compares strongly.
 * @returns undefined for a request without either
 */
export function parsePrecondition(ifMatch: string | undefined, ifNoneMatch: string | undefined): Precondition | undefined {
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  return {
    ifMatch:
      ifMatch === undefined
        ? undefined
        : tagsOf(ifMatch)
            .filter((tag) => !tag.startsWith('W/'))
            .map(unquoted),
    ifNoneMatch: ifNoneMatch === undefined ? undefined : tagsOf(ifNoneMatch).map((tag) => unquoted(tag.replace(/^W\//, ''))),
  };
}

/** @param current the digest of what is there; undefined for nothing */
export function holds({ ifMatch, ifNoneMatch }: Precondition, current: Digest | undefined): boolean {
  const matches = (tags: readonly string[]): boolean =>
    current !== undefined && tags.some((tag) => tag === '*' || tag === current);
  return (ifMatch === undefined || matches(ifMatch)) && (ifNoneMatch === undefined || !matches(ifNoneMatch));
}

function tagsOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}

function unquoted(tag: string): string {
  return tag.replace(/^"(.*)"$/, '$1');
}
