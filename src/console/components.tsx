import type { Child, FC } from 'hono/jsx';
import { withQuery } from './paths.ts';

/** A time, in UTC until the script of the page has put it into the reader's zone. */
export const Time: FC<{ at: string | null; none?: string }> = ({ at, none = 'never' }) =>
  at === null ? (
    <span class="faint">{none}</span>
  ) : (
    <time datetime={at}>{at.replace('T', ' ').replace(/\.\d+Z$|Z$/, ' UTC')}</time>
  );

/** An amount of bytes, in decimal units. */
export const Bytes: FC<{ of: number }> = ({ of }) => <span title={`${of} bytes`}>{inUnits(of)}</span>;

/** Returns a number with thousands separators. */
export function counted(number: number): string {
  return number.toLocaleString('en-US');
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

export function inUnits(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

/** A short digest, with the whole one as its tooltip. */
export const Digest: FC<{ of: string; href?: string | undefined }> = ({ of, href }) => {
  const short = <code title={of}>{shortDigest(of)}</code>;
  return href === undefined ? short : <a href={href}>{short}</a>;
};

export function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12);
}

interface TableProps {
  /** The name of the list, for readers who can't see it. */
  readonly caption: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Child[])[];
  /** The first thing to do, if there are no rows. */
  readonly empty: Child;
  /** Whether a narrow window shows each row as a list of its cells. */
  readonly stacks?: boolean;
}

export const Table: FC<TableProps> = ({ caption, columns, rows, empty, stacks }) =>
  rows.length === 0 ? (
    <p class="empty">{empty}</p>
  ) : (
    <div class="scroll" tabindex={0} role="region" aria-label={caption}>
      <table class={stacks === true ? 'stacks' : undefined}>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th scope="col">{column}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((cells) => (
            <tr>
              {cells.map((cell, i) => (
                <td data-column={stacks === true ? columns[i] : undefined}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );

const GOOD = new Set(['settled', 'ok', 'yes', 'public']);
const BAD = new Set(['parked', 'does not answer', 'lost']);

/** The most rows of a table whose length a tenant decides. */
const MAX_ROWS = 100;

/** A table of the first entries of a list, and how many more there are. */
export function FirstRows<Entry>({
  of,
  row,
  ...table
}: Omit<TableProps, 'rows'> & { of: readonly Entry[]; row: (entry: Entry) => readonly Child[] }) {
  return (
    <>
      <Table {...table} rows={of.slice(0, MAX_ROWS).map(row)} />
      {of.length > MAX_ROWS && <p>and {counted(of.length - MAX_ROWS)} more</p>}
    </>
  );
}

/** The most characters of a text that a tenant wrote. */
const MAX_CHARACTERS = 500;
/** The most texts in one cell. */
const MAX_LINES = 50;

/** Texts that a tenant wrote, such as commands. */
export const Lines: FC<{ of: readonly string[] }> = ({ of }) => {
  const more = of.length - MAX_LINES;
  const lines = [...of.slice(0, MAX_LINES).map(clipped), ...(more > 0 ? [`and ${more} more`] : [])];
  return <code class="lines">{lines.join('\n')}</code>;
};

function clipped(text: string): string {
  return text.length <= MAX_CHARACTERS ? text : `${text.slice(0, MAX_CHARACTERS)}…`;
}

/** A word for a state, and a color that says the same. */
export const State: FC<{ children: string }> = ({ children }) => (
  <span class={`state ${GOOD.has(children) ? 'good' : BAD.has(children) ? 'bad' : ''}`}>{children}</span>
);

/** A link to the next page of a list; nothing on the last. */
export const Next: FC<{ path: string; query: Readonly<Record<string, string>>; last: string | null | undefined }> = ({
  path,
  query,
  last,
}) => {
  if (last === null || last === undefined) return <></>;
  return (
    <p>
      <a href={withQuery(path, { ...query, last })} rel="next">
        Next page
      </a>
    </p>
  );
};

/** A part of a page that refreshes itself every few seconds while the page is visible. @param path the page */
export const Live: FC<{ id: string; path: string; children?: Child }> = ({ id, path, children }) => (
  <div
    id={id}
    data-live
    hx-get={path}
    hx-trigger="every 5s, visibilitychange from:document"
    hx-select={`#${id}`}
    hx-swap="outerMorph"
  >
    {children}
  </div>
);

/** Stands in for the images of a repository that the reader administers, but may not pull from. */
export const NotShown: FC = () => (
  <p class="empty">Your credential may not pull from here, so contents are not shown.</p>
);

/** A list of terms with their values. */
export const Facts: FC<{ of: readonly (readonly [term: string, what: Child])[] }> = ({ of }) => (
  <dl>
    {of.map(([term, what]) => (
      <div>
        <dt>{term}</dt>
        <dd>{what}</dd>
      </div>
    ))}
  </dl>
);

/** The error of the form that was just sent. */
export const Problem: FC<{ message: string | undefined }> = ({ message }) =>
  message === undefined ? (
    <></>
  ) : (
    <p class="problem" role="alert">
      {message}
    </p>
  );
