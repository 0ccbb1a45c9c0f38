/** Decides how a mirror answers for a tag by the age of the upstream's last answer. This file is pure. */
import type { Mirror } from '../../stores/organizations/mirrors.ts';

/** A mirror's reaction to a request for a tag. */
export type Verdict = 'serve' | 'serve, then ask' | 'ask first';

type Times = Pick<Mirror, 'ttl' | 'stale'>;

/**
 * @param checkedAt when the upstream last answered for the tag, in milliseconds since the epoch; undefined for never
 */
export function verdictOn(checkedAt: number | undefined, times: Times, now: number): Verdict {
  if (checkedAt === undefined) return 'ask first';
  if (now - checkedAt < times.ttl) return 'serve';
  return times.ttl > 0 && mayBeStale(checkedAt, times, now) ? 'serve, then ask' : 'ask first';
}

/** Returns whether a tag may still be served while its upstream fails. */
export function mayBeStale(checkedAt: number, { ttl, stale }: Times, now: number): boolean {
  return now - checkedAt < ttl + stale;
}
