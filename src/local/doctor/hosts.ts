/** The hosts to check: the one that was named, those of `--hosts`, and those that the deployment says it has. */
import { isLoopback } from '../../config.ts';
import type { Deployment } from './deployment.ts';
import type { Options } from './arguments.ts';

export interface Host {
  /** With its port, if the address has one. */
  readonly name: string;
  readonly url: URL;
  /** `central`, or the name of a node; undefined if nothing said so. */
  readonly registry: string | undefined;
}

/** Returns the hosts, with the one that was named first. */
export function hostsToCheck({ url, hosts }: Options, deployment: Deployment | undefined): Host[] {
  const deployed = (deployment?.registries ?? []).flatMap(({ name: registry, hosts: served }) =>
    addressesOf(served, url).map((address) => ({ registry, url: address })),
  );
  const registryOf = ({ host }: URL): string | undefined => deployed.find((each) => each.url.host === host)?.registry;
  const addresses = [url, ...hosts, ...deployed.map((each) => each.url)];
  const distinct = new Map(addresses.map((address) => [address.host, address]));
  return [...distinct.values()].map((address) => ({
    name: address.host,
    url: address,
    registry: registryOf(address),
  }));
}

/**
 * Returns the addresses at which a registry's configured hosts are reached from here. A host `:8787` means that port
 * at the host name of the given URL. If there is any such host, as in a local run, only those are returned, because not
 * every machine resolves `*.localhost`.
 */
export function addressesOf(served: readonly string[], { protocol, hostname, port }: URL): URL[] {
  const ports = served.filter((host) => host.startsWith(':'));
  if (ports.length > 0) return ports.map((at) => new URL(`${protocol}//${hostname}${at}`));
  const names = served.map((host) => (host.includes(':') || port === '' ? host : `${host}:${port}`));
  const addresses = names.map((name) => new URL(`${protocol}//${name}`));
  // A local run may be configured with the names of a deployment. No password goes there over plain HTTP.
  return addresses.filter((address) => protocol === 'https:' || isLoopback(address.hostname));
}
