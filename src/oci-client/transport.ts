/** The client's way to the network. The program and the Worker reach it differently, so each passes in its own. */

export interface Request {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Names are in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | SizedStream;
  readonly signal?: AbortSignal | undefined;
}

/** A body whose length is known before it is read. It is sent with that Content-Length, never in HTTP chunks. */
export interface SizedStream {
  /** Bytes. */
  readonly length: number;
  readonly stream: ReadableStream<Uint8Array>;
}

/**
 * Sends one request. Redirects are returned, not followed, and bodies are not decoded (`Content-Encoding`).
 * @throws TransportError if there is no answer
 */
export type Transport = (url: URL, request: Request) => Promise<Response>;

/** The error for a connection that could not be made, broke, or stalled. The same request may work later. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
}
