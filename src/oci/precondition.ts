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

const WEAK = /^W\//i;

/**
 * Reads the two headers. A weak tag never matches in If-Match, which compares strongly; in If-None-Match it counts as a
 * strong one.
 * @returns undefined for a request without either
 */
export function parsePrecondition(
  ifMatch: string | undefined,
  ifNoneMatch: string | undefined,
): Precondition | undefined {
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  return {
    ifMatch: ifMatch === undefined ? undefined : tagsOf(ifMatch).filter((tag) => !WEAK.test(tag)),
    ifNoneMatch: ifNoneMatch === undefined ? undefined : tagsOf(ifNoneMatch).map((tag) => tag.replace(WEAK, '')),
  };
}

/** @param current the digest of what is there; undefined for nothing */
export function holds({ ifMatch, ifNoneMatch }: Precondition, current: Digest | undefined): boolean {
  const matches = (tags: readonly string[]): boolean =>
    current !== undefined && tags.some((tag) => tag === '*' || isEntityTagOf(tag, current));
  return (ifMatch === undefined || matches(ifMatch)) && (ifNoneMatch === undefined || !matches(ifNoneMatch));
}

/**
 * Whether a strong entity tag is that of the content. Clients that keep the digest and not the header send no quotes.
 */
export function isEntityTagOf(tag: string, digest: Digest): boolean {
  return tag === `"${digest}"` || tag === digest;
}

function tagsOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}
