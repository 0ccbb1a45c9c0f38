/** A gateway in this process, in front of a {@link Host}, and requests as clients make them. */
import { once } from 'node:events';
import { type IncomingMessage, request, type RequestOptions } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { BodyLimit } from '../../../src/oci-client/body-limit.ts';
import type { Patience } from '../../../cli/src/gateway/client-body.ts';
import { Gateway } from '../../../cli/src/gateway/gateway.ts';
import { listenOnLoopback } from '../../../cli/src/gateway/listen.ts';
import { createTransport } from '../../../cli/src/transport.ts';
import { Host } from './host.ts';

export const MEBIBYTE = 1024 ** 2;
/** Small chunks, for tests in which the size does not matter. */
export const CHUNK = 64 * 1024;

export interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface Started {
  readonly host: Host;
  readonly port: number;
  readonly limit: BodyLimit;
  /** The text that people would read. */
  readonly told: readonly string[];
  /** Makes a request of the gateway. A list of buffers is sent without a length. */
  readonly ask: (options: RequestOptions, body?: Buffer | readonly Buffer[]) => Promise<Answered>;
  /** Opens an upload in `acme/app` and returns its path. */
  readonly open: () => Promise<string>;
}

/** Starts a host and a gateway, which end after the test. @param largest the most bytes of a chunk */
export async function startGateway(largest: number, patience?: Patience): Promise<Started> {
  const host = new Host();
  await host.listen();
  const told: string[] = [];
  const limit = new BodyLimit(largest);
  const gateway = new Gateway({
    host: host.url,
    limit,
    ...(patience === undefined ? {} : { patience }),
    transport: createTransport(),
    sleep: async () => undefined,
    tell: (line) => told.push(line),
  });
  const { port, close, abort } = await listenOnLoopback((incoming, outgoing) => {
    void gateway.handle(incoming, outgoing);
  });
  onTestFinished(async () => {
    abort();
    await close();
    await host.close();
  });
  const ask: Started['ask'] = (options, body) => askOn(port, options, body);
  return {
    host,
    port,
    limit,
    told,
    ask,
    open: async () => pathOf(await ask({ method: 'POST', path: '/v2/acme/app/uploads/' })),
  };
}

/** Returns the path of an answer's Location. */
export function pathOf({ headers }: Answered): string {
  return new URL(headers.location ?? '', 'http://localhost').pathname;
}

export async function askOn(
  port: number,
  options: RequestOptions,
  body?: Buffer | readonly Buffer[],
): Promise<Answered> {
  const asked = request({ host: '127.0.0.1', port, agent: false, ...options });
  const answer = once(asked, 'response') as Promise<[IncomingMessage]>;
  // A client that has its answer may find that it cannot send the rest.
  asked.on('error', () => undefined);
  if (Array.isArray(body)) Readable.from(body, { objectMode: false }).pipe(asked);
  else asked.end(body);
  const [incoming] = await answer;
  return { status: incoming.statusCode, headers: incoming.headers, body: await buffer(incoming) };
}
