/**
 * Parses a whole number from a header or a parameter; returns undefined for anything else. A number above `most`
 * becomes `most`, because clients that mean "all" send the greatest number that their language has.
 */
export function wholeNumber(text: string, most = Number.MAX_SAFE_INTEGER): number | undefined {
  return /^\d+$/.test(text) ? Math.min(Number(text), most) : undefined;
}
