import { Administration } from '../../auth/administration.ts';
import { composeControlData } from '../../registry/compose.ts';
import type { AppContext } from '../context.ts';

/**
 * Returns the administration of control data. It writes at central, whichever host is called; the nodes apply the
 * change from the change log.
 */
export function administrationOf(c: AppContext): Administration {
  const { central } = c.get('runtime').config;
  const changed = (): void => c.get('queues').wake(central.store);
  return new Administration(composeControlData(c.env, central), () => Date.now(), changed);
}

/** Formats milliseconds since the epoch as the API writes times: RFC 3339, in UTC. */
export function formatTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
