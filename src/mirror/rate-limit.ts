/**
 * The number of pulls that an upstream still allows, in Docker Hub's headers: `ratelimit-limit: 100;w=21600` and
 * `ratelimit-remaining: 76;w=21600` (https://docs.docker.com/docker-hub/usage/pulls/). A HEAD is no pull.
 */

export interface RateLimit {
  /** The pulls that are allowed within `seconds`. */
  readonly limit: number;
  readonly remaining: number;
  readonly seconds: number;
  /** When the upstream stated it, in milliseconds since the epoch. */
  readonly at: number;
}

/** @returns undefined if the answer states no limit */
export function rateLimitIn(headers: Headers, now: number): RateLimit | undefined {
  const limit = parse(headers.get('ratelimit-limit'));
  const remaining = parse(headers.get('ratelimit-remaining'));
  if (limit === undefined || remaining === undefined) return undefined;
  return { limit: limit.count, remaining: remaining.count, seconds: limit.seconds, at: now };
}

function parse(header: string | null): { readonly count: number; readonly seconds: number } | undefined {
  const [, count, seconds] = /^(\d{1,9})(?:;w=(\d{1,9}))?$/.exec(header?.trim() ?? '') ?? [];
  return count === undefined ? undefined : { count: Number(count), seconds: Number(seconds ?? 0) };
}
