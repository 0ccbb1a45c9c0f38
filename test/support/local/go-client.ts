/**
 * Requests as Go's HTTP client makes them, which docker, containerd and crane use. It keeps sending even if the answer
 * comes early.
 */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../black-box/go-client/main.go', import.meta.url));

export interface GoExchange {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the body. */
  readonly size: number;
  /** Whether the body is sent without Content-Length. */
  readonly chunked: boolean;
  readonly times: number;
}

/** The number of times that each outcome occurred: the status of an answer that was read to the end, or an error. */
export type GoOutcomes = Readonly<Record<string, number>>;

/** Builds the client into `folder`. Returns a function that sends exchanges with it. @throws if Go is missing */
export function buildGoClient(folder: string): (exchanges: readonly GoExchange[]) => Promise<GoOutcomes[]> {
  const program = join(folder, 'go-client');
  execFileSync('go', ['build', '-o', program, SOURCE], { stdio: ['ignore', 'inherit', 'inherit'] });
  return async (exchanges) => {
    const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end(JSON.stringify(exchanges));
    return JSON.parse(await text(child.stdout)) as GoOutcomes[];
  };
}
