/** Requests of the bench: kept-alive connections, bodies with or without a length, answers read to the end. */
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingHttpHeaders, request } from 'node:http';
import type { Content } from './content.ts';

const agent = new Agent({ keepAlive: true, maxSockets: 256 });

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: number;
  readonly body: Buffer;
}

export interface Call {
  readonly port: number;
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | Content;
  /** Whether to send the body without Content-Length. */
  readonly chunked?: boolean;
  /** Whether to keep the answer's body; large ones are only counted. */
  readonly keep?: boolean;
}

/** Sends a request. Fails unless the status is as expected: a failed request must not count as a measurement. */
export async function call(expected: number, options: Call): Promise<Answer> {
  const answer = await send(options, (status) => status !== expected);
  if (answer.status === expected) return answer;
  throw new Error(`${options.method} ${options.path}: ${answer.status} ${answer.body.toString()}`);
}

/**
 * Sends a request, whatever its status.
 * @param keepIf returns whether to keep the body of an answer with this status even without `keep`
 */
export function send(options: Call, keepIf: (status: number) => boolean = () => false): Promise<Answer> {
  const { port, method, path, headers = {}, body, chunked = false, keep = false } = options;
  const length: Record<string, string> = chunked
    ? { 'Transfer-Encoding': 'chunked' }
    : { 'Content-Length': String(body?.byteLength ?? 0) };
  return new Promise((done, fail) => {
    const outgoing = request(
      { host: '127.0.0.1', port, method, path, agent, headers: { ...headers, ...length } },
      (response) => {
        const kept: Buffer[] = [];
        let bytes = 0;
        const status = response.statusCode ?? 0;
        const keeps = keep || keepIf(status);
        response.on('data', (data: Buffer) => {
          bytes += data.byteLength;
          if (keeps) kept.push(data);
        });
        response.on('error', fail);
        response.on('end', () => done({ status, headers: response.headers, bytes, body: Buffer.concat(kept) }));
      },
    );
    outgoing.on('error', fail);
    if (body === undefined || Buffer.isBuffer(body)) outgoing.end(body);
    else stream(outgoing, body).catch(fail);
  });
}

/** Writes the content as fast as the connection accepts it. */
async function stream(outgoing: ClientRequest, content: Content): Promise<void> {
  for (const piece of content.pieces()) {
    if (!outgoing.write(piece)) await once(outgoing, 'drain');
  }
  outgoing.end();
}

export function closeConnections(): void {
  agent.destroy();
}
