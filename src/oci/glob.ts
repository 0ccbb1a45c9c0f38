/** Patterns of names, in which `*` stands for any characters, `/` included. */

export function isGlob(pattern: string): boolean {
  return pattern.includes('*');
}

/** Returns whether a name matches. Takes time in proportion to the two lengths, whatever the pattern. */
export function matchesGlob(pattern: string, name: string): boolean {
  const [first = '', ...others] = pattern.split('*');
  const last = others.pop();
  if (last === undefined) return pattern === name;
  if (!name.startsWith(first) || !name.endsWith(last)) return false;
  const end = name.length - last.length;
  let at = first.length;
  for (const part of others) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return at <= end;
}
