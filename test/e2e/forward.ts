/** Passes a request on to a registry, and its answer back: what fronts do with all that they let through. */
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface Onward {
  /** The registry's `<host>:<port>`, which it is told it was asked as. */
  readonly host: string;
  readonly port: number;
  /** Replaces the client's. */
  readonly authorization?: string;
  /** The request's, where it was read already. */
  readonly body?: Uint8Array;
  /** Before the client hears of the answer. */
  readonly onAnswer?: (answer: IncomingMessage) => void;
}

/** Challenges name the front's own host, as the registry's would. */
export async function forward(incoming: IncomingMessage, outgoing: ServerResponse, onward: Onward): Promise<void> {
  const { host, port, authorization, body, onAnswer } = onward;
  const { method = 'GET', url = '/' } = incoming;
  const own = incoming.headers.host ?? '';
  try {
    const sent = { ...incoming.headers, host, ...(authorization !== undefined && { authorization }) };
    const asked = request({ host: '127.0.0.1', port, method, path: url, headers: sent });
    const answered = new Promise<IncomingMessage>((done, fail) => asked.on('response', done).on('error', fail));
    const content = body === undefined ? incoming : Readable.from([body], { objectMode: false });
    const [answer] = await Promise.all([answered, pipeline(content, asked)]);
    onAnswer?.(answer);
    const challenge = answer.headers['www-authenticate'];
    const headers = { ...answer.headers, ...(challenge && { 'www-authenticate': challenge.replace(host, own) }) };
    outgoing.writeHead(answer.statusCode ?? 502, headers);
    await pipeline(answer, outgoing);
  } catch {
    outgoing.destroy();
  }
}
