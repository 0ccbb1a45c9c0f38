/** Compares lists of two images. */

export interface Change<Item> {
  readonly change: 'removed' | 'added' | 'kept';
  readonly item: Item;
}

/** Compares two lists, in which an item can occur several times. Removed items come first, and kept ones last. */
export function changesOf<Item>(
  from: readonly Item[],
  to: readonly Item[],
  keyOf: (item: Item) => string,
): Change<Item>[] {
  const [kept, removed] = split(from, to, keyOf);
  const [, added] = split(to, from, keyOf);
  return [
    ...removed.map((item) => ({ change: 'removed', item }) as const),
    ...added.map((item) => ({ change: 'added', item }) as const),
    ...kept.map((item) => ({ change: 'kept', item }) as const),
  ];
}

/** Splits a list into the items that another list has as well, and the others. */
function split<Item>(
  items: readonly Item[],
  others: readonly Item[],
  keyOf: (item: Item) => string,
): readonly [kept: readonly Item[], rest: readonly Item[]] {
  const left = new Map<string, number>();
  for (const other of others) left.set(keyOf(other), (left.get(keyOf(other)) ?? 0) + 1);
  const [kept, rest]: [Item[], Item[]] = [[], []];
  for (const item of items) {
    const count = left.get(keyOf(item)) ?? 0;
    left.set(keyOf(item), count - 1);
    (count > 0 ? kept : rest).push(item);
  }
  return [kept, rest];
}

/** Returns every name of the two sides with its value on each. The names of `from` come first. */
export function sidesOf<Value>(
  from: ReadonlyMap<string, Value>,
  to: ReadonlyMap<string, Value>,
): { readonly name: string; readonly from: Value | undefined; readonly to: Value | undefined }[] {
  return [...new Set([...from.keys(), ...to.keys()])].map((name) => ({ name, from: from.get(name), to: to.get(name) }));
}
