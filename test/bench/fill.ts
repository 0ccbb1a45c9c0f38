/** Fills tables with very many rows, without requests. */
import type { Control } from './control.ts';

const ROWS_AT_ONCE = 100_000;

/** @param select a SELECT over the numbers from 0 to `count` - 1 in `n (i)` */
export async function insert(
  control: Control,
  store: string,
  count: number,
  into: string,
  select: string,
): Promise<void> {
  for (let first = 0; first < count; first += ROWS_AT_ONCE) {
    const last = Math.min(count, first + ROWS_AT_ONCE) - 1;
    const numbers = `WITH RECURSIVE n (i) AS (SELECT ${first} UNION ALL SELECT i + 1 FROM n WHERE i < ${last})`;
    await control.sql(store, `INSERT INTO ${into} ${numbers} ${select}`);
  }
}
