/**
 * Integers in JSON. JavaScript reads `1e3` and `1000.0` as 1000. Go's decoder accepts only digits for an integer, and
 * otherwise fails on the whole document. The parser here turns an integer field written in that way into NaN, which no
 * JSON number can be. A number that JavaScript does not read as an integer stays as it is.
 */

/**
 * Matches a member whose number may have a fraction or an exponent. Real manifests have none, so few documents pay for
 * the reviver.
 */
const FRACTION_OR_EXPONENT = /"\s*:\s*-?\d+[.eE]/;

/**
 * Parses JSON. An integer is NaN if it belongs to a member in `names`, at any depth, and is not written only in digits.
 */
export function parseWithIntegers(text: string, names: ReadonlySet<string>): unknown {
  if (!FRACTION_OR_EXPONENT.test(text)) return JSON.parse(text);
  return JSON.parse(text, (key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    Number.isInteger(value) && names.has(key) && /[.eE]/.test(context?.source ?? '') ? Number.NaN : value,
  );
}
