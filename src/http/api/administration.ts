import { Administration } from '../../auth/administration.ts';
import { composeControlData } from '../../registry/compose.ts';
import type { AppContext } from '../context.ts';

export function administrationOf(c: AppContext): Administration {
  return new Administration(composeControlData(c.env, c.get('namespace')), () => Date.now());
}

/** Milliseconds since the epoch as the API writes times: RFC 3339, in UTC. */
export function formatTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
