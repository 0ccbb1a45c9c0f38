/** Clients that send a part of a request, then stop, and keep their connection. */
import { connect, type Socket } from 'node:net';

export interface Stalled {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The part of the body that is sent. */
  readonly sent: Buffer;
  /** Whether to read only the beginning of the answer. */
  readonly isUnread?: boolean;
}

/** The number of answers with each status meanwhile. */
export type Answered = Readonly<Record<string, number>>;

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise<void>((done) => void socket.once('close', () => done()));
}

/** Sends all of these at once, and keeps the connections for `milliseconds`. */
export async function stall(port: number, requests: readonly Stalled[], milliseconds: number): Promise<Answered> {
  const answered: Record<string, number> = {};
  const sockets = requests.map((request): Socket => {
    const socket = connect(port, '127.0.0.1');
    const head = [`${request.method} ${request.path} HTTP/1.1`, `Host: 127.0.0.1:${port}`];
    for (const [name, value] of Object.entries(request.headers)) head.push(`${name}: ${value}`);
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    socket.write(request.sent);
    socket.once('data', (data: Buffer) => {
      const status = data.toString('latin1', 9, 12);
      answered[status] = (answered[status] ?? 0) + 1;
      if (request.isUnread === true) socket.pause();
    });
    // The server closes refused connections while the client still sends.
    socket.on('error', () => undefined);
    return socket;
  });
  await new Promise((done) => setTimeout(done, milliseconds));
  await Promise.all(sockets.map((socket) => closed(socket.destroy())));
  return answered;
}
