/**
 * Blocks of tables at the end of a TOML file, each between two marks by which it is found again. All else stays as it
 * is.
 */

export interface Table {
  /** `env.production.routes`: the array that it is an element of. */
  readonly header: string;
  readonly values: Readonly<Record<string, string | boolean | readonly string[]>>;
}

export function appendBlock(text: string, name: string, tables: readonly Table[]): string {
  const lines = tables.map(({ header, values }) =>
    [`[[${header}]]`, ...Object.entries(values).map(([key, value]) => `${key} = ${literal(value)}`)].join('\n'),
  );
  const begin = `# begin ${name}: written by \`npm run add-node\`, removed by \`npm run retire-node\``;
  return `${text.endsWith('\n') ? text : `${text}\n`}\n${begin}\n${lines.join('\n\n')}\n# end ${name}\n`;
}

/** Answers undefined where the file has no such block. */
export function removeBlock(text: string, name: string): string | undefined {
  const begin = text.indexOf(`\n# begin ${name}:`);
  const end = `\n# end ${name}\n`;
  const at = text.indexOf(end, begin);
  return begin === -1 || at === -1 ? undefined : text.slice(0, begin) + text.slice(at + end.length);
}

function literal(value: string | boolean | readonly string[]): string {
  return typeof value === 'object' ? `[${value.map(literal).join(', ')}]` : JSON.stringify(value);
}
