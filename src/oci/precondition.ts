/**
 * If-Match and If-None-Match (RFC 9110 §13.1.1, §13.1.2). The entity tag of a manifest or a blob is its digest. A
 * client that sends the digest it has seen cannot overwrite or delete something else.
 */
import type { Digest } from './digest.ts';

export interface Precondition {
  /** One of these entity tags must match the stored content; `*` matches any content. Undefined without the header. */
  readonly ifMatch: readonly string[] | undefined;
  /** None of these entity tags may match the stored content. Undefined without the header. */
  readonly ifNoneMatch: readonly string[] | undefined;
}

const WEAK = /^W\//i;

/**
 * Parses the two headers. A weak tag never matches in If-Match, which compares strongly. In If-None-Match it counts as
 * a strong tag.
 * @returns undefined for a request with neither header
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

/**
 * Returns whether a precondition holds.
 * @param current the digest of the stored content; undefined if there is none
 */
export function holds({ ifMatch, ifNoneMatch }: Precondition, current: Digest | undefined): boolean {
  const matches = (tags: readonly string[]): boolean =>
    current !== undefined && tags.some((tag) => tag === '*' || isEntityTagOf(tag, current));
  return (ifMatch === undefined || matches(ifMatch)) && (ifNoneMatch === undefined || !matches(ifNoneMatch));
}

/**
 * Returns whether a strong entity tag is that of the content. A client that has kept the digest rather than the header
 * sends it without quotes.
 */
export function isEntityTagOf(tag: string, digest: Digest): boolean {
  return tag === `"${digest}"` || tag === digest;
}

function tagsOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}
