/** Lines over time. */
import { type ScaleContinuousNumeric, scaleLinear, scaleLog } from 'd3-scale';
import { line } from 'd3-shape';
import type { Child, FC } from 'hono/jsx';
import { Figure } from './figure.tsx';

export type Point = readonly [at: number, value: number | undefined];

interface Line {
  readonly name: string;
  /** Undefined values leave a gap. */
  readonly points: readonly Point[];
}

interface LineChartProps {
  readonly title: string;
  /** At most two, which differ in color and in dashes. */
  readonly lines: readonly Line[];
  readonly from: number;
  readonly to: number;
  readonly times: readonly (readonly [at: number, label: string])[];
  readonly scale: 'linear' | 'logarithmic';
  /** The least range of values that the scale covers. */
  readonly values: readonly [least: number, most: number];
  readonly format: (value: number) => string;
  /** The same figures as a table. */
  readonly table: Child;
}

const [WIDTH, HEIGHT] = [640, 200];
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 36, 12, 24];
const TICKS = 4;

export const LineChart: FC<LineChartProps> = ({ title, lines, from, to, times, format, table, ...axis }) => {
  const across = scaleLinear([from, to], [LEFT, WIDTH - RIGHT]);
  const up = scaleOf(axis, lines);
  const path = line<Point>()
    .defined(([, value]) => value !== undefined)
    .x(([at]) => across(at))
    .y(([, value = 0]) => up(value))
    .digits(1);
  return (
    <Figure title={title} size={[WIDTH, HEIGHT]} legend={lines.map(({ name }) => name)} keys="lines" table={table}>
      {ticksOf(up).map((value) => (
        <>
          <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={up(value).toFixed(1)} y2={up(value).toFixed(1)} />
          <text x={LEFT - 8} y={(up(value) + 4).toFixed(1)} text-anchor="end">
            {format(value)}
          </text>
        </>
      ))}
      {times.map(([at, label]) => (
        <text x={across(at).toFixed(1)} y={HEIGHT - 6} text-anchor="middle">
          {label}
        </text>
      ))}
      {lines.map(({ points }, i) => (
        <>
          <path class={`line line-${i + 1}`} d={path(points) ?? ''} />
          {points.map(
            ([at, value]) =>
              value !== undefined && (
                <circle class={`dot-${i + 1}`} cx={across(at).toFixed(1)} cy={up(value).toFixed(1)} r="2.5" />
              ),
          )}
        </>
      ))}
    </Figure>
  );
};

type Scale = ScaleContinuousNumeric<number, number>;

function scaleOf({ scale, values }: Pick<LineChartProps, 'scale' | 'values'>, lines: readonly Line[]): Scale {
  const shown = lines.flatMap(({ points }) => points.flatMap(([, value]) => value ?? []));
  const domain = [values[0], Math.max(values[1], ...shown)];
  const range = [HEIGHT - BOTTOM, TOP];
  return scale === 'linear' ? scaleLinear(domain, range).nice(TICKS) : scaleLog(domain, range).nice().clamp(true);
}

/** Returns round values; on a logarithmic scale, the powers of ten. */
function ticksOf(scale: Scale): number[] {
  return 'base' in scale
    ? scale.ticks().filter((value) => Number.isInteger(Math.round(Math.log10(value) * 1e9) / 1e9))
    : scale.ticks(TICKS);
}
