import { isLoopback } from '../config.ts';

/**
 * Returns one of a registry's or the console's configured hosts that the client can reach; undefined if there is none.
 * A host that is configured by its port alone is on this machine.
 * @param asked the host name that the client has used
 */
export function reachableHost(hosts: readonly string[], asked: string): string | undefined {
  const name = hosts.find((host) => !host.startsWith(':'));
  const port = hosts.find((host) => host.startsWith(':'));
  if (port === undefined || (name !== undefined && !isLoopback(asked))) return name;
  return `${name !== undefined && isLoopback(name) ? name : 'localhost'}${port}`;
}
