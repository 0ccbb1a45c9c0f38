/** Runs the doctor in this process, against a local registry and the imitated edges in front of it. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Line, Outcome } from '../../../src/local/doctor/line.ts';
import { parseArguments } from '../../../src/local/doctor/arguments.ts';
import { examine } from '../../../src/local/doctor/run.ts';
import { Edge } from './edge.ts';
import { loggedIn, request } from './push.ts';
import type { Server } from './server.ts';
import { ORGANIZATION } from './doctor-credentials.ts';

export async function diagnose(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = ORGANIZATION,
  signal: AbortSignal = new AbortController().signal,
): Promise<Line[]> {
  return Array.fromAsync(examine(parseArguments(args, environment), signal));
}

/** Returns the lines with an outcome, as `<check>: <what was seen>`. */
export function seen(lines: readonly Line[], outcome: Outcome): string[] {
  return lines.filter((line) => line.outcome === outcome).map(({ check, seen: what }) => `${check}: ${what}`);
}

/** Returns the advice on the first failure. */
export function todo(lines: readonly Line[]): string | null | undefined {
  return lines.find(({ outcome }) => outcome === 'failure')?.todo;
}

/** Starts edges in front of central and of node1 for all tests of a file. They have no fault when a test begins. */
export function edgesForFile(server: { readonly current: Server }): { readonly central: Edge; readonly node: Edge } {
  const edges = {} as { central: Edge; node: Edge };
  beforeAll(async () => {
    edges.central = await Edge.start(server.current.port);
    edges.node = await Edge.start(server.current.port + 1);
  });
  afterEach(() => {
    edges.central.fault = {};
    edges.node.fault = {};
  });
  afterAll(async () => {
    await Promise.all([edges.central.close(), edges.node.close()]);
  });
  return edges;
}

/** Returns the repositories that the catalogs of all hosts list for alice. */
export async function repositories(server: Server): Promise<string[]> {
  const lists = [server.url, ...server.nodes.map(({ url }) => url)].map(async (url) => {
    const answer = await request(loggedIn(url, 'alice'), 'GET', '/v2/_catalog');
    return ((await answer.json()) as { repositories: string[] }).repositories;
  });
  return (await Promise.all(lists)).flat();
}
