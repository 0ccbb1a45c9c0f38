/**
 * A whole number in a header or a parameter; undefined for what is none. Clients that mean "all" write the greatest
 * number that their language has: above `most`, it is `most`.
 */
export function wholeNumber(text: string, most = Number.MAX_SAFE_INTEGER): number | undefined {
  return /^\d+$/.test(text) ? Math.min(Number(text), most) : undefined;
}
