import { MAX_DEPTH } from './manifest-limits.ts';

/** The most values of other documents that are parsed: more than an SBOM of 1 MiB has. */
const MAX_VALUES = 50_000;

/**
 * Checks whether a JSON text would be too costly to parse: its arrays and objects nest deeper than `maxDepth`, or it
 * has more than `maxValues` values. It scans the text before parsing, without recursion. A document of a few megabytes
 * can nest very deeply (as in distribution CVE-2017-11468) or hold millions of tiny values, and each value takes many
 * times its size once parsed.
 */
export function jsonExcess(text: string, maxDepth: number, maxValues: number): 'depth' | 'values' | undefined {
  let depth = 0;
  let values = 1;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === BACKSLASH) i++;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) inString = true;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (++depth > maxDepth) return 'depth';
      values++;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--;
    else if (code === COMMA) values++;
    if (values > maxValues) return 'values';
  }
  return undefined;
}

/** Parses a document that a tenant wrote; undefined if it is not JSON, or would cost much memory. */
export function boundedJson(text: string): unknown {
  if (jsonExcess(text, MAX_DEPTH, MAX_VALUES) !== undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
