/** Decides when a push that could not be forwarded is tried again. This file is pure. */
import { MINUTE } from '../durations.ts';
import { mayPass } from '../upstream/failure.ts';
import { LoginError } from '../oci-client/authorization.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import { TransportError } from '../oci-client/transport.ts';
import { isUnavailable } from '../oci/errors.ts';
import { Postponed } from '../upstream/connect.ts';

/** After this many failed attempts, a push is parked. */
export const MAX_ATTEMPTS = 12;
const FIRST_WAIT_MILLISECONDS = 5000;
const LONGEST_WAIT_MILLISECONDS = 10 * MINUTE;
/** How long a push waits while this registry's own store is away. */
const STORE_WAIT_MILLISECONDS = 5000;

/** The party that a failure is blamed on. */
export type Blame = 'upstream' | 'store' | 'push';

/** Statuses of an upstream that is busy, or of a proxy whose upstream is away. */
const AWAY: ReadonlySet<number> = new Set([429, 502, 503, 504]);

export function blameFor(error: unknown): Blame {
  if (error instanceof TransportError || error instanceof Postponed || error instanceof LoginError) return 'upstream';
  if (error instanceof RegistryError && AWAY.has(error.status)) return 'upstream';
  return isUnavailable(error) ? 'store' : 'push';
}

/** A push after a failure. */
export interface Failed {
  readonly isParked: boolean;
  readonly attempts: number;
  /** The time of the next attempt at the earliest, in milliseconds since the epoch. */
  readonly dueAt: number;
}

/** @param attempts the attempts that have failed before */
export function afterFailure(attempts: number, error: unknown, now: number): Failed {
  const blame = blameFor(error);
  // The push goes behind those that are due already.
  if (blame === 'upstream') return { isParked: false, attempts, dueAt: now };
  if (blame === 'store') return { isParked: false, attempts, dueAt: now + STORE_WAIT_MILLISECONDS };
  const wait = Math.min(LONGEST_WAIT_MILLISECONDS, FIRST_WAIT_MILLISECONDS * 2 ** attempts);
  const made = attempts + 1;
  return { isParked: !mayPass(error) || made >= MAX_ATTEMPTS, attempts: made, dueAt: now + wait };
}
