/**
 * Records what the code under test prints, and the secrets that it must not print. Every request prints a line, which
 * takes longer to show than the request to answer. So only the lines of a failing test are shown.
 */
import { Secrets } from './secrets.ts';

/**
 * The secrets that the test file has used so far: the configuration's, and those that `client.ts` sent and received.
 */
export const secrets = new Secrets();

const LEVELS = ['log', 'info', 'warn', 'error', 'debug'] as const;

/** Lines shown of a test that fails. */
const SHOWN = 200;

const show = console.log.bind(console);
let printed: string[] = [];

/** Starts to record everything printed, until {@link takePrinted}. */
export function watchConsole(): void {
  for (const level of LEVELS)
    console[level] = (...values: unknown[]) => void printed.push(values.map(textOf).join(' '));
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

/** Shows the last lines that were recorded. */
export function showPrinted(): void {
  for (const line of lastPrinted(SHOWN)) show(line);
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value.stack ?? value.message} ${textOf(value.cause ?? '')}`;
  return JSON.stringify(value) ?? String(value);
}
