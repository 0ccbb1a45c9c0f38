/**
 * Decides what becomes of a push that a mirror forwards to its upstream. This file is pure.
 *
 *     noted ──► pending ──► announced ──► settled
 *                  │             │
 *                  └─► parked ◄──┘
 *
 * A push is noted before it is committed here, so that it is forwarded even if the Worker dies in between. It is
 * pending once it is committed, announced once the upstream has its manifest, and settled once the upstream was seen to
 * show it. Nothing committed is dropped but for a later push of the same tag, or a deletion.
 *
 * If the upstream does not answer, no push is to blame: all of them wait, and no attempt is counted.
 */
import { MINUTE } from '../durations.ts';
import { mayPass } from '../upstream/failure.ts';
import { LoginError } from '../oci-client/authorization.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import { TransportError } from '../oci-client/transport.ts';
import { isUnavailable } from '../oci/errors.ts';
import { Postponed } from '../upstream/connect.ts';

export type Stage = 'noted' | 'pending' | 'announced' | 'parked';

/** After this many failed attempts, a push is parked. */
export const MAX_ATTEMPTS = 12;
const FIRST_WAIT_MILLISECONDS = 5000;
const LONGEST_WAIT_MILLISECONDS = 10 * MINUTE;
/** How long a push waits while this registry's own store is away. */
const STORE_WAIT_MILLISECONDS = 5000;

/** The time after which a push that was noted, and not confirmed, is looked for. */
export const LOOK_MILLISECONDS = MINUTE;
/** The time after which it counts as never committed. No request takes as long. */
const GIVE_UP_MILLISECONDS = 10 * MINUTE;

/** What a failure says something about. */
export type Blame = 'upstream' | 'store' | 'push';

/** Statuses with which an upstream says that it is busy, or with which a proxy says that it is away. */
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
  // Others that have waited for longer go first.
  if (blame === 'upstream') return { isParked: false, attempts, dueAt: now };
  if (blame === 'store') return { isParked: false, attempts, dueAt: now + STORE_WAIT_MILLISECONDS };
  const wait = Math.min(LONGEST_WAIT_MILLISECONDS, FIRST_WAIT_MILLISECONDS * 2 ** attempts);
  const made = attempts + 1;
  return { isParked: !mayPass(error) || made >= MAX_ATTEMPTS, attempts: made, dueAt: now + wait };
}

/**
 * Decides about a push that was noted, and never confirmed.
 * @param isCommitted whether this registry shows it now
 */
export function judgeUnconfirmed(isCommitted: boolean, notedAt: number, now: number): 'forward' | 'wait' | 'drop' {
  if (isCommitted) return 'forward';
  return now - notedAt < GIVE_UP_MILLISECONDS ? 'wait' : 'drop';
}
