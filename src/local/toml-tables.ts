/**
 * Adds and removes tables of a TOML file by its lines, so that everything else stays as it was, byte for byte. It knows
 * table headers with bare keys and nothing else of TOML: who uses it compares what the file means before and after.
 */

export interface Table {
  /** `env.production.routes`: the array that it is an element of. */
  readonly header: string;
  readonly values: Readonly<Record<string, string | boolean | readonly string[]>>;
}

/** The element at an index of an array of tables. */
export interface Element {
  readonly header: string;
  readonly index: number;
}

const HEADER = /^\s*\[{1,2}\s*([A-Za-z0-9_.-]+)\s*\]{1,2}\s*(?:#.*)?\s*$/;

/** Elements of arrays of tables, at the end of the file, the first below a comment. */
export function appendTables(text: string, comment: string, tables: readonly Table[]): string {
  const end = lineEnd(text);
  const blocks = tables.map(({ header, values }, i) => [
    '',
    ...(i === 0 ? [`# ${comment}`] : []),
    `[[${header}]]`,
    ...Object.entries(values).map(([key, value]) => `${key} = ${literal(value)}`),
  ]);
  const complete = text === '' || text.endsWith('\n') ? text : `${text}${end}`;
  return complete + blocks.flat().join(end) + end;
}

/** Each with the comment lines right above its header, and one blank line above these. */
export function removeTables(text: string, removed: readonly Element[]): string {
  const lines = text.split(/(?<=\n)/);
  const kept = new Set(lines.keys());
  for (const { start, end } of ranges(lines, removed)) {
    for (let i = start; i < end; i++) kept.delete(i);
  }
  return lines.filter((_, i) => kept.has(i)).join('');
}

function ranges(lines: readonly string[], wanted: readonly Element[]): { start: number; end: number }[] {
  const headers = lines.flatMap((line, at) => {
    const header = HEADER.exec(line)?.[1];
    return header === undefined ? [] : [{ header, at, start: startOf(lines, at) }];
  });
  const counts = new Map<string, number>();
  return headers.flatMap(({ header, start }, i) => {
    const index = counts.get(header) ?? 0;
    counts.set(header, index + 1);
    const hit = wanted.some((each) => each.header === header && each.index === index);
    return hit ? [{ start, end: headers[i + 1]?.start ?? lines.length }] : [];
  });
}

function startOf(lines: readonly string[], header: number): number {
  let start = header;
  while (/^\s*#/.test(lines[start - 1] ?? '')) start--;
  return start > 0 && /^\s*$/.test(lines[start - 1] ?? '') ? start - 1 : start;
}

function lineEnd(text: string): string {
  return /\r\n/.test(text) ? '\r\n' : '\n';
}

function literal(value: string | boolean | readonly string[]): string {
  return typeof value === 'object' ? `[${value.map(literal).join(', ')}]` : JSON.stringify(value);
}
