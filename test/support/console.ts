/** Records what the code under test prints, and the secrets that it must not print. */
import { Secrets } from './secrets.ts';

/**
 * The secrets that the test file has used so far: the configuration's, and those that `client.ts` sent and received.
 */
export const secrets = new Secrets();

const LEVELS = ['log', 'info', 'warn', 'error', 'debug'] as const;

let printed: string[] = [];
let shown = true;
let watched = false;

/** Starts to record everything printed, until {@link takePrinted}. */
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

/** Stops showing what is printed, for tests of thousands of requests. It is still recorded. */
export function hideConsole(): void {
  shown = false;
}

/** Shows again what is printed. */
export function showConsole(): void {
  shown = true;
}

/** Returns the last things printed. They stay recorded. */
export function lastPrinted(count: number): readonly string[] {
  return printed.slice(-count);
}

/** Returns what was printed since the last call, and forgets it. */
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
