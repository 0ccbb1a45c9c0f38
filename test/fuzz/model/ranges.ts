/** Ranges of downloads (RFC 9110 §14) and of chunks (distribution-spec, "Pushing a blob in chunks"). */
import { isDigits } from './text.ts';

export type Selection =
  | { readonly kind: 'whole' | 'none' }
  /** Both ends are inclusive. */
  | { readonly kind: 'part'; readonly first: number; readonly last: number };

/**
 * Returns what a Range header may select of `size` bytes. A server may return the whole when it does not understand the
 * header.
 */
export function selections(header: string | undefined, size: number): Selection[] {
  const whole = { kind: 'whole' } as const;
  if (header === undefined) return [whole];
  const bare = header.replaceAll(' ', '');
  const [unit = '', ...sets] = bare.split('=');
  const [first = '', last = '', ...more] = sets.join('=').split('-');
  const isRange =
    unit.toLowerCase() === 'bytes' && more.length === 0 && bare.includes('-') && isDigits(first) && isDigits(last);
  if (!isRange || (first === '' && last === '')) return [whole];
  const selection = select(
    first === '' ? undefined : BigInt(first),
    last === '' ? undefined : BigInt(last),
    BigInt(size),
  );
  const isUsual = bare === header && unit === 'bytes';
  return isUsual ? [selection] : [selection, whole];
}

function select(first: bigint | undefined, last: bigint | undefined, size: bigint): Selection {
  const lowest = first ?? size - (last ?? 0n);
  const start = lowest < 0n ? 0n : lowest;
  const end = first === undefined || last === undefined || last >= size ? size - 1n : last;
  return start > end ? { kind: 'none' } : { kind: 'part', first: Number(start), last: Number(end) };
}
