/** What the code under test prints, and the secrets that it must not print. */
import { Secrets } from './secrets.ts';

/** All that the test file has used so far: the configuration's, and what `client.ts` sent and got. */
export const secrets = new Secrets();

const LEVELS = ['log', 'info', 'warn', 'error', 'debug'] as const;

let printed: string[] = [];
let shown = true;
let watched = false;

/** From now on, everything that is printed is kept until {@link takePrinted}. */
export function watchConsole(): void {
  shown = true;
  if (watched) return;
  watched = true;
  for (const level of LEVELS) {
    const print = console[level].bind(console);
    console[level] = (...values: unknown[]) => {
      printed.push(values.map(textOf).join(' '));
      if (shown) print(...values);
    };
  }
}

/** For tests of thousands of requests: their lines are searched, but not shown. */
export function hideConsole(): void {
  shown = false;
}

/** For what is to be read after such tests. */
export function showConsole(): void {
  shown = true;
}

/** The last so many things that were printed, which are searched all the same. */
export function lastPrinted(count: number): readonly string[] {
  return printed.slice(-count);
}

/** What was printed since the last time. */
export function takePrinted(): string {
  const text = printed.join('\n');
  printed = [];
  return text;
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value.stack ?? value.message} ${textOf(value.cause ?? '')}`;
  return JSON.stringify(value) ?? String(value);
}
