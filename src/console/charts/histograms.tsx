/** How many values lie in each bucket, for two kinds of values side by side. */
import { scaleBand, scaleLinear } from 'd3-scale';
import type { FC } from 'hono/jsx';
import type { HourOfQueue } from '../answers.ts';
import { counted, Table } from '../components.tsx';
import { Figure } from './figure.tsx';
import { formatSeconds } from './lag.tsx';

interface HistogramsProps {
  readonly title: string;
  /** The upper bounds of the buckets, in seconds. */
  readonly bounds: readonly number[];
  /** At most two, each of several hours. */
  readonly of: readonly { readonly name: string; readonly histograms: readonly HourOfQueue['announce_seconds'][] }[];
}

const [WIDTH, HEIGHT] = [640, 200];
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 36, 12, 24];
const TICKS = 4;

export const Histograms: FC<HistogramsProps> = ({ title, bounds, of }) => {
  const names = [...bounds.map((bound) => `≤ ${formatSeconds(bound)}`), 'longer'];
  const bars = of.map(({ histograms }) => countsOf(histograms, bounds.length));
  const across = scaleBand(names, [LEFT, WIDTH - RIGHT]).paddingInner(0.2);
  const up = scaleLinear([0, Math.max(4, ...bars.flat())], [HEIGHT - BOTTOM, TOP]).nice(TICKS);
  const width = across.bandwidth() / of.length;
  return (
    <Figure
      title={title}
      size={[WIDTH, HEIGHT]}
      legend={of.map(({ name }) => name)}
      keys="tiles"
      table={
        <Table
          caption={`${title}: the figures`}
          columns={['Time', ...of.map(({ name }) => name)]}
          rows={names.map((name, i) => [name, ...bars.map((counts) => counted(counts[i] ?? 0))])}
          empty=""
        />
      }
    >
      {up.ticks(TICKS).map((value) => (
        <>
          <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={up(value).toFixed(1)} y2={up(value).toFixed(1)} />
          <text x={LEFT - 8} y={(up(value) + 4).toFixed(1)} text-anchor="end">
            {counted(value)}
          </text>
        </>
      ))}
      {names.map((name, i) => (
        <>
          {/* Names of every second bucket fit. */}
          {i % 2 === 0 && (
            <text x={((across(name) ?? 0) + width).toFixed(1)} y={HEIGHT - 6} text-anchor="middle">
              {name}
            </text>
          )}
          {bars.map((counts, j) => (
            <rect
              class={`tile-${j + 1}`}
              x={((across(name) ?? 0) + j * width).toFixed(1)}
              y={up(counts[i] ?? 0).toFixed(1)}
              width={width.toFixed(1)}
              height={(HEIGHT - BOTTOM - up(counts[i] ?? 0)).toFixed(1)}
            />
          ))}
        </>
      ))}
    </Figure>
  );
};

/** Returns the number of values in each bucket, and last of those beyond all bounds. The histograms are cumulative. */
function countsOf(histograms: readonly HourOfQueue['announce_seconds'][], buckets: number): number[] {
  const within = (i: number): number => histograms.reduce((sum, each) => sum + (each.buckets[i] ?? 0), 0);
  const all = histograms.reduce((sum, { count }) => sum + count, 0);
  const upTo = [...Array.from({ length: buckets }, (_, i) => within(i)), all];
  return upTo.map((count, i) => count - (upTo[i - 1] ?? 0));
}
