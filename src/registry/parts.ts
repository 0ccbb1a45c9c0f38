/** Joins the parts of a registry into one. */

/** Everything that any of the parts can do. */
type Joined<Parts extends readonly object[]> = Parts extends readonly [infer First, ...infer Others extends object[]]
  ? First & Joined<Others>
  : unknown;

/** As a trap of a proxy, makes a change throw. Otherwise a spy would be ignored silently. */
const refuse = (): boolean => false;

/**
 * Joins the parts of a registry. The first part that has an operation does it. A registry that stands above another
 * puts its own parts first and the other one last, so it has only the operations that it changes.
 */
export function joined<Parts extends object[]>(...parts: Parts): Joined<Parts> {
  const operation = (_: object, name: string | symbol): unknown => {
    const part = parts.find((each) => Reflect.get(each, name) !== undefined);
    const found: unknown = part && Reflect.get(part, name);
    return typeof found === 'function' ? found.bind(part) : found;
  };
  return new Proxy({}, { get: operation, set: refuse, defineProperty: refuse }) as Joined<Parts>;
}
