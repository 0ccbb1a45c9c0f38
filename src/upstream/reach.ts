import { isLoopback } from '../config.ts';
import { type Hosts, resolveHost } from '../namespaces/namespace.ts';
import type { Reach } from './address.ts';

/**
 * Returns the addresses that upstreams of a deployment may have: not its own hosts and, unless it is a local run, none
 * on its own machine. A local run serves whole ports, or names of this machine.
 */
export function reachOf(own: Hosts): Reach {
  return {
    isOwn: (url) => resolveHost(own, url) !== undefined,
    allowsLoopback: own.hosts.every(({ host }) => isLocal(host)),
  };
}

function isLocal(host: string): boolean {
  return host.startsWith(':') || isLoopback(host.replace(/:\d+$/, ''));
}
