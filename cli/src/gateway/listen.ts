import { createServer, type RequestListener, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Failure } from '../errors.ts';

/** Some clients take `localhost` as IPv4, others as IPv6. */
const ADDRESSES = ['127.0.0.1', '::1'] as const;
/** The number of ports to try, because a port may be free for IPv4 alone. */
const TRIES = 10;

export interface Listening {
  readonly port: number;
  /** Stops taking requests, and waits for running ones. */
  readonly close: () => Promise<void>;
  /** Ends running requests. */
  readonly abort: () => void;
}

/**
 * Listens on this machine alone.
 * @param port a free one by default
 * @throws Failure if the port is taken
 */
export async function listenOnLoopback(listener: RequestListener, port = 0): Promise<Listening> {
  for (let tries = 1; ; tries += 1) {
    const servers: Server[] = [];
    try {
      for (const address of ADDRESSES) {
        const server = await listen(listener, address, servers[0] === undefined ? port : portOf(servers[0]));
        if (server !== undefined) servers.push(server);
      }
      return listening(servers);
    } catch (cause) {
      for (const server of servers) server.close();
      const isTaken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (isTaken && port === 0 && tries < TRIES) continue;
      if (!isTaken) throw cause;
      throw new Failure(`port ${port} is in use: choose another with --port, or leave it out`, { cause });
    }
  }
}

/** @returns undefined if this machine has no such address */
async function listen(listener: RequestListener, address: string, port: number): Promise<Server | undefined> {
  // A layer may take hours, and each wait on the way has a limit of its own.
  const server = createServer({ requestTimeout: 0 }, listener);
  try {
    server.listen({ host: address, port, ipv6Only: true });
    await once(server, 'listening');
    return server;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (address === '::1' && ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(code)) return undefined;
    throw error;
  }
}

function listening(servers: readonly Server[]): Listening {
  return {
    port: servers[0] === undefined ? 0 : portOf(servers[0]),
    close: async () => {
      await Promise.all(
        servers.map((server) => {
          const closed = once(server, 'close');
          server.close();
          return closed;
        }),
      );
    },
    abort: () => {
      for (const server of servers) server.closeAllConnections();
    },
  };
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
