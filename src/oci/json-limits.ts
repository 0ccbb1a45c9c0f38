/**
 * Whether the JSON text nests arrays and objects deeper than `limit`. A scan without recursion, done before
 * parsing: a deeply nested document must cost nothing (distribution CVE-2017-11468 and its kin).
 */
export function nestsDeeperThan(text: string, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > limit) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}

/**
 * Whether the JSON text has more than `limit` values: a document of a few megabytes can be millions of tiny ones, and
 * each takes many times its bytes once parsed.
 */
export function hasMoreValuesThan(text: string, limit: number): boolean {
  let values = 1;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    // A comma, or the start of an array or object: each brings a value.
    else if ((code === 0x2c || code === 0x5b || code === 0x7b) && ++values > limit) return true;
  }
  return false;
}
