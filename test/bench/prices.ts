/** The cost of operations: Cloudflare's prices of the paid plan beyond its included usage, in dollars for a million. */

export interface Operations {
  /** Requests to the Worker. */
  readonly requests: number;
  /** R2: put, list, creating and completing a multipart upload, and uploading a part. */
  readonly classA: number;
  /** R2: get and head. */
  readonly classB: number;
  /** R2: delete, and aborting a multipart upload. They are free. */
  readonly r2Free: number;
  /** D1 queries and batches. They have no price, but cost time. */
  readonly roundTrips: number;
  readonly statements: number;
  readonly rowsRead: number;
  readonly rowsWritten: number;
  /** Calls of Durable Objects, and their alarms. */
  readonly objectRequests: number;
  readonly objectRowsRead: number;
  readonly objectRowsWritten: number;
}

export const NONE: Operations = {
  requests: 0,
  classA: 0,
  classB: 0,
  r2Free: 0,
  roundTrips: 0,
  statements: 0,
  rowsRead: 0,
  rowsWritten: 0,
  objectRequests: 0,
  objectRowsRead: 0,
  objectRowsWritten: 0,
};

const DOLLARS: Readonly<Partial<Record<keyof Operations, readonly [name: string, dollars: number]>>> = {
  requests: ['Worker requests', 0.3],
  classA: ['R2 class A', 4.5],
  classB: ['R2 class B', 0.36],
  rowsRead: ['D1 rows read', 0.001],
  rowsWritten: ['D1 rows written', 1],
  objectRequests: ['Durable Object requests', 0.15],
  objectRowsRead: ['its rows read', 0.001],
  objectRowsWritten: ['its rows written', 1],
};

export function sum(one: Operations, other: Operations): Operations {
  const entries = Object.entries(one) as [keyof Operations, number][];
  return Object.fromEntries(entries.map(([name, value]) => [name, value + other[name]])) as unknown as Operations;
}

export interface Price {
  /** Dollars for the requested number of actions. */
  readonly dollars: number;
  /** `3 R2 class A $13.50`, the most expensive first. */
  readonly parts: string;
}

/** @param times the number of actions: a million by default */
export function priceOf(operations: Operations, times = 1_000_000): Price {
  const parts = Object.entries(DOLLARS)
    .map(([field, [name, dollars]]) => {
      const count = operations[field as keyof Operations];
      const price = (count * dollars * times) / 1_000_000;
      return { text: `${count} ${name} ${inDollars(price)}`, count, dollars: price };
    })
    .filter(({ count }) => count > 0)
    .toSorted((a, b) => b.dollars - a.dollars);
  return {
    dollars: parts.reduce((total, { dollars }) => total + dollars, 0),
    parts: parts.map(({ text }) => text).join(', '),
  };
}

export function inDollars(dollars: number): string {
  return `$${dollars < 0.1 ? dollars.toFixed(3) : dollars.toFixed(2)}`;
}
