/** One request of a client, and its answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { ReadableStream as NodeStream } from 'node:stream/web';
import { pipeline } from 'node:stream/promises';
import { TransportError } from '../../../src/oci-client/transport.ts';
import { ClientBody, ClientStalled, type Patience } from './client-body.ts';
import { answerHeaders } from './headers.ts';
import type { Room } from './room.ts';

/** The time for which a client may read nothing of an answer, in milliseconds. */
const UNREAD_MS = 300_000;

export class Exchange {
  readonly incoming: IncomingMessage;
  readonly body: ClientBody;
  /** Aborted once the client is gone, or stalls. */
  readonly signal: AbortSignal;
  readonly #outgoing: ServerResponse;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, room: Room, patience: Patience) {
    const abort = new AbortController();
    this.incoming = incoming;
    this.signal = abort.signal;
    this.body = new ClientBody(incoming, room, abort, patience);
    this.#outgoing = outgoing;
    outgoing.on('close', () => {
      if (!outgoing.writableFinished) abort.abort(new Error('the client is gone'));
    });
  }

  /**
   * Passes an answer on as it comes. Then reads the rest of the request's body, so that the client gets to see the
   * answer.
   */
  async answer(answer: Response, host: URL): Promise<void> {
    this.body.forget();
    const outgoing = this.#outgoing;
    const own = `http://${this.incoming.headers.host ?? 'localhost'}`;
    outgoing.writeHead(answer.status, answerHeaders(answer, host, own));
    outgoing.setTimeout(UNREAD_MS, () => outgoing.destroy());
    if (answer.body === null) outgoing.end();
    else await pipeline(Readable.fromWeb(answer.body as NodeStream), outgoing);
    if (!(await this.body.discard())) this.incoming.socket.destroy();
  }

  /** Answers with an error of the gateway's own, or closes the connection if the answer has begun. */
  async fail(error: unknown, host: URL): Promise<void> {
    if (this.#outgoing.headersSent) this.#outgoing.destroy();
    else await this.answer(errorAnswer(error), host).catch(() => this.#outgoing.destroy());
  }
}

/** An answer in the form of the OCI API. @param message what is wrong and what to do */
export function refusal(status: number, code: string, message: string): Response {
  return Response.json({ errors: [{ code, message: `berth gateway: ${message}`, detail: {} }] }, { status });
}

function errorAnswer(error: unknown): Response {
  if (error instanceof TransportError) return refusal(502, 'UNAVAILABLE', error.message);
  if (error instanceof ClientStalled) return refusal(408, 'UNKNOWN', `${error.message}: push again`);
  return refusal(500, 'UNKNOWN', error instanceof Error ? error.message : String(error));
}
