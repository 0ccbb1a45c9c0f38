/** Forwards a request to a registry, and its answer to the client. */
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface Onward {
  /** The registry's `<host>:<port>`, which becomes the Host header. */
  readonly host: string;
  readonly port: number;
  /** Replaces the client's header. */
  readonly authorization?: string;
  /** The request's body, if it was already read. */
  readonly body?: Uint8Array;
  /** Called before the answer is sent to the client. */
  readonly onAnswer?: (answer: IncomingMessage) => void;
}

/**
 * Forwards a request. In a challenge, it replaces the registry's host by the one that the client called, so that the
 * client logs in through this proxy too.
 */
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
