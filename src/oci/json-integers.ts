/**
 * Integers in JSON. To JavaScript `1e3` and `1000.0` are 1000; Go's decoder takes only digits for an integer, and fails
 * on the whole document. Here a field that is written so is NaN, which no JSON number is otherwise. What is no integer
 * to JavaScript either stays as it is.
 */

/**
 * A member whose number may have a fraction or an exponent. Real manifests have none, so that few documents cost the
 * reviver.
 */
const NO_DIGITS_ALONE = /"\s*:\s*-?\d+[.eE]/;

/**
 * Parses JSON; members called one of `names`, at any depth, are NaN if they are integers not written in digits alone.
 */
export function parseWithIntegers(text: string, names: ReadonlySet<string>): unknown {
  if (!NO_DIGITS_ALONE.test(text)) return JSON.parse(text);
  return JSON.parse(text, (key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    Number.isInteger(value) && names.has(key) && /[.eE]/.test(context?.source ?? '') ? Number.NaN : value,
  );
}
