/**
 * The output of commands: tables for people, JSON for programs. A terminal gets colors (unless `NO_COLOR` is set) and
 * short digests; a file or a pipe gets plain text with whole digests. Text that comes from a registry can't control the
 * terminal.
 */
import { styleText } from 'node:util';
import { Failure } from './errors.ts';

export interface Screen {
  readonly isTerminal: boolean;
  readonly hasColors: boolean;
}

/** Describes standard output. */
export function screenOf(stream: NodeJS.WriteStream = process.stdout): Screen {
  const isTerminal = stream.isTTY;
  // https://no-color.org: any value but the empty one turns colors off.
  const isPlain = (process.env['NO_COLOR'] ?? '') !== '' || process.env['TERM'] === 'dumb';
  return { isTerminal, hasColors: isTerminal && !isPlain };
}

export type Tone = 'good' | 'busy' | 'bad';
const COLORS = { good: 'green', busy: 'yellow', bad: 'red' } as const;

/** Only the screen decides whether there are colors. */
function styled(style: 'bold' | Tone, text: string): string {
  return styleText(style === 'bold' ? style : COLORS[style], text, { validateStream: false });
}

/** The content of a cell. Null and undefined are shown as `-`. */
export type Cell = string | number | null | undefined | { readonly text: string; readonly tone?: Tone };

/** A column: its heading, and the cell of an item. A heading that ends with `>` aligns the column to the right. */
export type Columns<Item> = Readonly<Record<string, (item: Item) => Cell>>;

/** Returns a table without borders, each line ended; only its headings if there are no items. */
export function table<Item>(items: readonly Item[], columns: Columns<Item>, screen = screenOf()): string {
  const headings = Object.keys(columns);
  const isRight = headings.map((heading) => heading.endsWith('>'));
  const rows = [
    headings.map((heading) => ({ text: heading.replace(/>$/, ''), tone: undefined })),
    ...items.map((item) => Object.values(columns).map((cell) => shown(cell(item)))),
  ];
  const widths = headings.map((_, i) => Math.max(...rows.map((row) => row[i]?.text.length ?? 0)));
  const lines = rows.map((row, i) =>
    row
      .map(({ text, tone }, j) => {
        const isLast = j === headings.length - 1;
        const [before, after] = isRight[j] === true ? [widths[j] ?? 0, 0] : [0, isLast ? 0 : (widths[j] ?? 0)];
        const padded = text.padStart(before).padEnd(after);
        if (!screen.hasColors) return padded;
        return i === 0 ? styled('bold', padded) : tone === undefined ? padded : styled(tone, padded);
      })
      .join('  ')
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join('');
}

/** Returns a table of one item: a line for each field. */
export function fields(values: Readonly<Record<string, Cell>>, screen = screenOf()): string {
  const width = Math.max(...Object.keys(values).map((name) => name.length)) + 1;
  return Object.entries(values)
    .map(([name, cell]) => {
      const { text, tone } = shown(cell);
      const label = `${name}:`.padEnd(width);
      const value = tone === undefined || !screen.hasColors ? text : styled(tone, text);
      return `${screen.hasColors ? styled('bold', label) : label}  ${value}\n`;
    })
    .join('');
}

function shown(cell: Cell): { readonly text: string; readonly tone: Tone | undefined } {
  const { text, tone } = typeof cell === 'object' && cell !== null ? cell : { text: String(cell ?? '-') };
  return { text: harmless(text), tone };
}

/** Replaces control characters: with them, a name or an annotation could rewrite what the terminal shows. */
export function harmless(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '\u{fffd}');
}

export function print(text: string): void {
  process.stdout.write(text);
}

/** Prints a value as JSON, indented as `gh` and `jq` do. */
export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Prints what was removed: a line, or `{ "removed": … }` as JSON. The API answers a DELETE with nothing. */
export function printRemoved(name: string, asJson: boolean): void {
  if (asJson) printJson({ removed: name });
  else print(`removed ${name}\n`);
}

/** Returns a digest, shortened to 12 hexadecimal digits for a terminal. */
export function digestFor(digest: string, screen = screenOf()): string {
  return screen.isTerminal ? digest.replace(/^(\w+:[0-9a-f]{12})[0-9a-f]+$/, '$1') : digest;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Returns a size in decimal units, as docker shows it: `12.3 MB`. */
export function size(bytes: number): string {
  let [value, unit] = [bytes, 0];
  // 999.95 would be rounded to 1000.
  while (value >= 999.95 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Formats a duration in its largest unit: `5 s`, `3 min`, `2 h`, `4 d`. */
export function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Returns when something happened, as `2026-11-30 20:45`, in the local time zone. */
export function time(iso: string): string {
  // Sweden writes times as ISO 8601 does.
  return new Date(iso).toLocaleString('sv-SE', { dateStyle: 'short', timeStyle: 'short' });
}

/** Asks a question on the terminal. @throws Failure if there is no terminal, or the answer isn't yes */
export async function confirm(question: string, isConfirmed: boolean): Promise<void> {
  if (isConfirmed) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new Failure(`${question} Repeat it with --yes.`, { exitCode: 2 });
  const { createInterface } = await import('node:readline/promises');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`${question} [y/N] `);
    if (!/^y(?:es)?$/i.test(answer.trim())) throw new Failure('nothing was changed');
  } finally {
    prompt.close();
  }
}
