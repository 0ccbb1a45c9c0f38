/** Parses the parts of Markdown that the tests of the documents need: code blocks, headings' anchors, and links. */

export interface CodeBlock {
  /** The text after the fence: the language, and for `sh` perhaps why the block is not run. */
  readonly info: string;
  readonly text: string;
  /** The line of its fence, from 1. */
  readonly line: number;
}

export interface Link {
  readonly target: string;
  readonly line: number;
}

interface Line {
  readonly text: string;
  readonly number: number;
}

export interface Document {
  readonly blocks: readonly CodeBlock[];
  /** The headings' anchors, as GitHub makes them. */
  readonly anchors: ReadonlySet<string>;
  readonly links: readonly Link[];
  /** Lines outside of code blocks and their fences. */
  readonly prose: readonly Line[];
}

const FENCE = /^\s*(`{3,})\s*(.*)$/;
const HEADING = /^#{1,6}\s+(.*?)\s*#*$/;
const DEFINITION = /^\[([^\]]+)\]:\s+(\S+)/;
const INLINE_LINK = /\[(?:[^[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)/g;
const REFERENCE_LINK = /\[[^[\]]+\]\[([^[\]]+)\]/g;

export function parseMarkdown(source: string): Document {
  const { blocks, prose } = separateCode(source);
  return { blocks, prose, anchors: anchorsOf(prose), links: linksOf(prose) };
}

function separateCode(source: string): Pick<Document, 'blocks' | 'prose'> {
  const blocks: CodeBlock[] = [];
  const prose: Line[] = [];
  let open: { fence: string; info: string; line: number; lines: string[] } | undefined;
  for (const [i, text] of source.split('\n').entries()) {
    const [, fence, info = ''] = FENCE.exec(text) ?? [];
    if (open === undefined) {
      if (fence === undefined) prose.push({ text, number: i + 1 });
      else open = { fence, info, line: i + 1, lines: [] };
    } else if (fence !== undefined && fence.length >= open.fence.length && info === '') {
      blocks.push({ info: open.info, text: open.lines.join('\n'), line: open.line });
      open = undefined;
    } else {
      open.lines.push(text);
    }
  }
  if (open !== undefined) throw new Error(`the code block that begins on line ${open.line} has no closing fence`);
  return { blocks, prose };
}

/** Returns the anchors. A second heading of the same text gets `-1` after its anchor, a third `-2`. */
function anchorsOf(prose: readonly Line[]): Set<string> {
  const anchors = new Set<string>();
  for (const { text } of prose) {
    const [, title] = HEADING.exec(text) ?? [];
    if (title === undefined) continue;
    const base = anchorOf(title);
    let anchor = base;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${base}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

function anchorOf(title: string): string {
  const shown = title.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
  return shown
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-');
}

/** Returns the links. A reference without a definition has an empty target. */
function linksOf(prose: readonly Line[]): Link[] {
  const definitions = new Map<string, string>();
  for (const { text } of prose) {
    const [, name, target] = DEFINITION.exec(text) ?? [];
    if (name !== undefined && target !== undefined) definitions.set(name.toLowerCase(), target);
  }
  // A link's text may continue on the next line. Code spans contain no links.
  const text = prose.map((line) => line.text).join('\n');
  const visible = text.replaceAll(/`[^`]*`/g, (span) => span.replaceAll(/[^\n]/g, '.'));
  const lineAt = (offset: number): number => prose[visible.slice(0, offset).split('\n').length - 1]?.number ?? 0;
  const inline = [...visible.matchAll(INLINE_LINK)].map(({ 1: target = '', index }) => ({
    target,
    line: lineAt(index),
  }));
  const byReference = [...visible.matchAll(REFERENCE_LINK)].map(({ 1: name = '', index }) => ({
    target: definitions.get(name.toLowerCase()) ?? '',
    line: lineAt(index),
  }));
  return [...inline, ...byReference];
}
