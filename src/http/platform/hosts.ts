/**
 * Finds the hosts that appear in image names. A namespace may be served at several hosts; the one that starts with
 * `index.` is its registry. Clients call a node's API at `api.<node>`, and name its images `<node>/…`.
 */
import { type Namespace, namespaceName, resolveHost } from '../../namespaces/namespace.ts';
import type { AppContext } from '../context.ts';

const REGISTRY = 'index.';
const API = 'api.';

/** Returns the host of a namespace's registry as the caller can reach it, with its port. */
export function registryHost(c: AppContext, namespace: Namespace): string {
  const { host, hostname, port } = c.get('url');
  const isAsked = namespaceName(namespace) === namespaceName(c.get('namespace'));
  if (isAsked && host.startsWith(REGISTRY)) return host;
  const hosts = c
    .get('runtime')
    .config.hosts.flatMap((served) =>
      namespaceName(served.namespace) === namespaceName(namespace) ? [served.host] : [],
    );
  const registry = hosts.find((each) => each.startsWith(REGISTRY));
  // A host name without a port is served on every port, so the caller's port reaches it.
  if (registry !== undefined) return registry.includes(':') || port === '' ? registry : `${registry}:${port}`;
  if (isAsked) return host;
  // A host without a name, `:<port>`, is served at the name that the caller used.
  return hosts.find((each) => !each.startsWith(':')) ?? `${hostname}${hosts[0] ?? ''}`;
}

/** Returns the host in names of this namespace's images. The platform leaves out `index.` and `api.`. */
export function hostOfImages(c: AppContext): string {
  return registryHost(c, c.get('namespace')).replace(/^(?:index|api)\./, '');
}

/**
 * Removes the host from the name of an image, if this deployment serves that host. The name may leave out the host's
 * `index.` or `api.`.
 */
export function withoutHost(c: AppContext, name: string): string {
  const [host = '', rest] = name.split(/\/(.*)/s, 2);
  return rest !== undefined && ['', REGISTRY, API].some((prefix) => isServed(c, `${prefix}${host}`)) ? rest : name;
}

function isServed(c: AppContext, host: string): boolean {
  const url = `https://${host}`;
  if (!/^[a-z0-9.-]+(?::\d+)?$/i.test(host) || !URL.canParse(url)) return false;
  return (
    resolveHost({ hosts: c.get('runtime').config.hosts, mirrorHosts: [], consoleHosts: [] }, new URL(url)) !== undefined
  );
}
