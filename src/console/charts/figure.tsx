/** The frame of a chart: SVG that is drawn on the server, a legend, and the same figures as a table. */
import type { Child, FC } from 'hono/jsx';

interface FigureProps {
  /** Describes the chart to those who can't see it. */
  readonly title: string;
  readonly size: readonly [width: number, height: number];
  /** The meanings of the colors, in their order. */
  readonly legend: readonly string[];
  readonly keys: 'lines' | 'tiles' | 'links';
  /** Whether the picture keeps its size, however wide the window is. */
  readonly isFixed?: boolean;
  /** The same figures; undefined if the page has them beside the chart. */
  readonly table?: Child;
  readonly children?: Child;
}

export const Figure: FC<FigureProps> = ({ title, size: [width, height], isFixed, legend, keys, table, children }) => (
  <figure class="chart">
    <div class="scroll" tabindex={0} role="region" aria-label={title}>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        {...(isFixed === true && { class: 'fixed', width, height })}
        role="img"
        aria-label={title}
      >
        {children}
      </svg>
    </div>
    <figcaption>
      {legend.map((text, i) => (
        <span>
          <span class={`key ${keys}-${i + 1}`}></span> {text}
        </span>
      ))}
    </figcaption>
    {table !== undefined && (
      <details>
        <summary>Show the figures as a table</summary>
        {table}
      </details>
    )}
  </figure>
);
