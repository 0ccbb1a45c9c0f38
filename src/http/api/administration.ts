import { Administration } from '../../auth/administration.ts';
import { composeControlData } from '../../registry/compose.ts';
import type { AppContext } from '../context.ts';

/** Control data is written at central, whichever host is asked; the nodes hear of it by the change log. */
export function administrationOf(c: AppContext): Administration {
  const { central } = c.get('runtime').config;
  const changed = (): void => c.get('queues').wake(central.store);
  return new Administration(composeControlData(c.env, central), () => Date.now(), changed);
}

/** Milliseconds since the epoch as the API writes times: RFC 3339, in UTC. */
export function formatTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
