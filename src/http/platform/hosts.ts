/**
 * Hosts in names of images. A namespace may be served at several, of which the one that starts with `index.` is its
 * registry's: the clients find a node's API at `api.<node>`, and its images at `<node>`.
 */
import { type Namespace, namespaceName, resolveNamespace } from '../../namespaces/namespace.ts';
import type { AppContext } from '../context.ts';

const REGISTRY = 'index.';
const API = 'api.';

/** The host of a namespace's registry, as the caller can reach it, with its port. */
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
  // One that is served by its name is found on every port.
  if (registry !== undefined) return registry.includes(':') || port === '' ? registry : `${registry}:${port}`;
  if (isAsked) return host;
  // One without a name is the asked one, at another port.
  return hosts.find((each) => !each.startsWith(':')) ?? `${hostname}${hosts[0] ?? ''}`;
}

/** What names of images start with, of the namespace that is asked: the platform leaves `index.` and `api.` out. */
export function hostOfImages(c: AppContext): string {
  return registryHost(c, c.get('namespace')).replace(/^(?:index|api)\./, '');
}

/**
 * A name may come as clients write it elsewhere: after a host that this deployment serves, with or without its `index.`
 * or `api.`.
 */
export function withoutHost(c: AppContext, name: string): string {
  const [host = '', rest] = name.split(/\/(.*)/s, 2);
  return rest !== undefined && ['', REGISTRY, API].some((prefix) => isServed(c, `${prefix}${host}`)) ? rest : name;
}

function isServed(c: AppContext, host: string): boolean {
  const url = `https://${host}`;
  if (!/^[a-z0-9.-]+(?::\d+)?$/i.test(host) || !URL.canParse(url)) return false;
  return resolveNamespace(c.get('runtime').config.hosts, new URL(url)) !== undefined;
}
