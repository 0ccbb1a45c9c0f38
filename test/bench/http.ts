/** Requests of the bench: kept-alive connections, bodies with or without a length, answers read to the end. */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

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
  readonly body?: Buffer;
  /** Whether the body goes without Content-Length. */
  readonly chunked?: boolean;
  /** Whether the answer's body is kept; large ones are only counted. */
  readonly keep?: boolean;
}

/** Fails unless the status is as expected: a figure of something that did not work is none. */
export function call(
  expected: number,
  { port, method, path, headers = {}, body, chunked = false, keep = false }: Call,
): Promise<Answer> {
  const length: Record<string, string> = chunked
    ? { 'Transfer-Encoding': 'chunked' }
    : { 'Content-Length': String(body?.byteLength ?? 0) };
  return new Promise((done, fail) => {
    const outgoing = request({ host: '127.0.0.1', port, method, path, agent, headers: { ...headers, ...length } }, (response) => {
      const kept: Buffer[] = [];
      let bytes = 0;
      response.on('data', (data: Buffer) => {
        bytes += data.byteLength;
        if (keep || response.statusCode !== expected) kept.push(data);
      });
      response.on('error', fail);
      response.on('end', () => {
        const status = response.statusCode ?? 0;
        if (status === expected) done({ status, headers: response.headers, bytes, body: Buffer.concat(kept) });
        else fail(new Error(`${method} ${path}: ${status} ${Buffer.concat(kept).toString()}`));
      });
    });
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

export function closeConnections(): void {
  agent.destroy();
}
