import { type Config, isLoopback } from '../config.ts';
import { resolveHost } from '../namespaces/namespace.ts';
import type { Reach } from './address.ts';

/**
 * Returns the addresses that upstreams of a deployment may have: not its own hosts and, unless it is a local run, none
 * on its own machine. A local run serves whole ports, or names of this machine.
 */
export function reachOf({ hosts, consoleHosts }: Pick<Config, 'hosts' | 'consoleHosts'>): Reach {
  return {
    isOwn: (url) => resolveHost(hosts, consoleHosts, url, url.port) !== undefined,
    allowsLoopback: hosts.every(({ host }) => isLocal(host)),
  };
}

function isLocal(host: string): boolean {
  return host.startsWith(':') || isLoopback(host.replace(/:\d+$/, ''));
}
