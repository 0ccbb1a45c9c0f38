/**
 * Adds blocks of tables to the end of a TOML file and removes them. Two marks enclose each block, so that it can be
 * found again. The rest of the file stays as it is.
 */

export interface Table {
  /** The array that the table is an element of, such as `env.production.routes`. */
  readonly header: string;
  readonly values: Readonly<Record<string, string | boolean | readonly string[]>>;
}

/** Appends a block to the text. */
export function appendBlock(text: string, name: string, tables: readonly Table[]): string {
  const lines = tables.map(({ header, values }) =>
    [`[[${header}]]`, ...Object.entries(values).map(([key, value]) => `${key} = ${literal(value)}`)].join('\n'),
  );
  const begin = `# begin ${name}: written by \`npm run add-node\`, removed by \`npm run retire-node\``;
  return `${text.endsWith('\n') ? text : `${text}\n`}\n${begin}\n${lines.join('\n\n')}\n# end ${name}\n`;
}

/**
 * Removes a block from the text; returns undefined if the text has no such block.
 * @returns the rest of the text, and the headers of the removed tables
 */
export function removeBlock(
  text: string,
  name: string,
): { readonly text: string; readonly headers: readonly string[] } | undefined {
  const block = new RegExp(`\\r?\\n# begin ${name}:.*\\r?\\n([^]*?\\n)# end ${name}(?:\\r?\\n|$)`).exec(text);
  if (block === null) return undefined;
  const headers = [...(block[1] ?? '').matchAll(/^\s*\[{1,2}\s*([^\]\s]+)/gm)].map(([, header = '']) => header);
  return { text: text.slice(0, block.index) + text.slice(block.index + block[0].length), headers };
}

function literal(value: string | boolean | readonly string[]): string {
  return typeof value === 'object' ? `[${value.map(literal).join(', ')}]` : JSON.stringify(value);
}
