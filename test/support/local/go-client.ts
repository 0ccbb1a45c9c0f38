/**
 * Requests as Go's HTTP client makes them, which sends on whatever it is answered meanwhile: docker, containerd and
 * crane do.
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
  /** Whether the body goes without Content-Length. */
  readonly chunked: boolean;
  readonly times: number;
}

/** How often each outcome was seen: a status, once its answer was read to the end, or what went wrong. */
export type GoOutcomes = Readonly<Record<string, number>>;

/** Builds the client into `folder`, and answers what sends exchanges by it. @throws where there is no Go */
export function buildGoClient(folder: string): (exchanges: readonly GoExchange[]) => Promise<GoOutcomes[]> {
  const program = join(folder, 'go-client');
  execFileSync('go', ['build', '-o', program, SOURCE], { stdio: ['ignore', 'inherit', 'inherit'] });
  return async (exchanges) => {
    const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end(JSON.stringify(exchanges));
    return JSON.parse(await text(child.stdout)) as GoOutcomes[];
  };
}
