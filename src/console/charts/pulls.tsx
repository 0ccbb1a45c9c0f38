/** The pulls of the last day, if the deployment can read them back. */
import type { FC } from 'hono/jsx';
import type { PullsByHour } from '../answers.ts';
import { counted } from '../components.tsx';
import { byTheHour, HourlyLines, OverLastDay } from './by-the-hour.tsx';

/** Says that pulls cannot be shown, and why. */
export const NO_PULLS = 'Pulls are not shown, because this deployment has no ANALYTICS_TOKEN to read them with.';

/**
 * The pulls by the hour.
 * @param pulls undefined if Analytics Engine did not answer in time
 * @param now in milliseconds since the epoch
 */
export const PullsOverLastDay: FC<{ pulls: PullsByHour | undefined; now: number }> = ({ pulls, now }) => (
  <OverLastDay of="Pulls">
    {pulls === undefined ? (
      <p class="problem">Analytics Engine does not answer, so pulls are missing.</p>
    ) : pulls.counted ? (
      <HourlyLines
        title="Pulls by the hour, as Analytics Engine estimates them"
        caption="Pulls by the hour"
        names={['Pulls']}
        hours={byTheHour(pulls.hours, now).map(([at, hour]) => [at, [hour?.pulls ?? 0]])}
        now={now}
        format={counted}
      />
    ) : (
      <p class="empty">{NO_PULLS}</p>
    )}
  </OverLastDay>
);
