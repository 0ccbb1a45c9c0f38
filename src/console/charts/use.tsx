/** An organization's use over time, against its quota. */
import type { FC } from 'hono/jsx';
import type { UsageDays } from '../answers.ts';
import { inUnits, Table } from '../components.tsx';
import { LineChart, type Point } from './line-chart.tsx';

export const UseOverTime: FC<{ days: UsageDays['days'] }> = ({ days }) => {
  const [first, last] = [days[0], days.at(-1)];
  if (first === undefined || last === undefined)
    return <p class="empty">Use is recorded once a day. The first figures appear tomorrow.</p>;
  const [from, to] = [Date.parse(first.day), Date.parse(last.day)];
  const points = (of: (day: (typeof days)[number]) => number | null): Point[] =>
    days.map((day) => [Date.parse(day.day), of(day) ?? undefined]);
  const hasQuota = days.some(({ quota }) => quota !== null);
  return (
    <LineChart
      title={`Use by the day, from ${first.day} to ${last.day}`}
      lines={[
        { name: 'Used', points: points(({ used }) => used) },
        ...(hasQuota ? [{ name: 'Quota', points: points(({ quota }) => quota) }] : []),
      ]}
      // A single day is in the middle.
      from={from === to ? from - 1 : from}
      to={from === to ? to + 1 : to}
      times={from === to ? [[from, first.day]] : [from, to].map((at, i) => [at, [first, last][i]?.day ?? ''])}
      scale="linear"
      values={[0, 1000]}
      format={inUnits}
      table={
        <Table
          caption="Use by the day"
          columns={['Day', 'Used', 'Quota']}
          rows={days
            .toReversed()
            .map(({ day, used, quota }) => [day, inUnits(used), quota === null ? 'none' : inUnits(quota)])}
          empty=""
        />
      }
    />
  );
};
