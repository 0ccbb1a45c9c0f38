/**
 * Decides what becomes of a push that a mirror forwards to its upstream. This file is pure.
 *
 *     noted ──► pending ──► announced ──► settled
 *                  │             │
 *                  └─► parked ◄──┘
 *
 * A push is noted before it is committed here, so it is forwarded even if the Worker dies in between: then the mirror
 * looks for its commit itself. It is pending once it is committed, announced once the upstream has taken its manifest,
 * and settled once the upstream shows it. Only a later push of the same tag or a deletion removes a committed push that
 * waits.
 *
 * If the upstream does not answer, no single push is to blame: all pushes wait, and no attempt is counted.
 */
import { MINUTE } from '../durations.ts';

export type Stage = 'noted' | 'pending' | 'announced' | 'parked';

/** The time after which the mirror looks for the commit of a noted push. No request takes that long. */
export const LOOK_MILLISECONDS = 10 * MINUTE;
