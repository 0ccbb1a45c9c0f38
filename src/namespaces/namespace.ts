import type { OrganizationName } from '../oci/reference.ts';

/**
 * The registry that a host name resolves to: central or a node. `store` names the D1 database and R2 bucket that hold
 * its state.
 */
export type Namespace = CentralNamespace | NodeNamespace;

export interface CentralNamespace {
  readonly kind: 'central';
  readonly store: StoreName;
}

export interface NodeNamespace {
  readonly kind: 'node';
  readonly name: string;
  /** The place of the node's Durable Object, as one of Cloudflare's location hints, such as `weur`. */
  readonly region: string;
  readonly store: StoreName;
}

/** Names one D1 database and one R2 bucket: bindings `DB_<NAME>` and `BLOBS_<NAME>`, upper case, "-" as "_". */
export type StoreName = string;

/**
 * One host at which a namespace is served: `index.example.com`, `localhost:8787`, or `:8787` for that port on any host.
 */
export interface ServedHost {
  readonly host: string;
  readonly namespace: Namespace;
}

/**
 * Returns the audience of an access token for the namespace. Two nodes that share a store have an audience each,
 * because a credential may be valid at only one of them.
 */
export function namespaceId(namespace: Namespace): string {
  return namespace.kind === 'central' ? 'central' : `node:${namespace.name}`;
}

/** Returns the name that people and credentials use for a namespace: `central`, or the node's name. */
export function namespaceName(namespace: Namespace): string {
  return namespace.kind === 'central' ? 'central' : namespace.name;
}

/** A host at which the repositories of one mirror are served without the organization before their names. */
export interface MirrorHost extends ServedHost {
  readonly organization: OrganizationName;
}

/** The hosts of a deployment. */
export interface Hosts {
  readonly hosts: readonly ServedHost[];
  readonly mirrorHosts: readonly MirrorHost[];
  /** Hosts of the console, in the same forms as {@link ServedHost}. */
  readonly consoleHosts: readonly string[];
}

/**
 * Finds what a request's host and port serve. Returns undefined for an unknown host. Host names take precedence over
 * ports: a host that is configured by name is found on every port.
 * @param port the port that the request arrived on, if a proxy shows the client a different one
 */
export function resolveHost(hosts: Hosts, url: URL, port = url.port): Namespace | 'console' | undefined {
  const served = servedAt(hosts, url, port);
  return typeof served === 'object' ? served.namespace : served;
}

/** Finds the organization whose host this is; undefined if it is the host of a whole registry, or of the console. */
export function organizationAt(hosts: Hosts, url: URL, port = url.port): OrganizationName | undefined {
  const served = servedAt(hosts, url, port);
  return typeof served === 'object' && 'organization' in served ? served.organization : undefined;
}

function servedAt(
  { hosts, mirrorHosts, consoleHosts }: Hosts,
  url: URL,
  port: string,
): ServedHost | MirrorHost | 'console' | undefined {
  for (const form of formsOf(url, port)) {
    if (consoleHosts.includes(form)) return 'console';
    const served = hosts.find(({ host }) => host === form) ?? mirrorHosts.find(({ host }) => host === form);
    if (served !== undefined) return served;
  }
  return undefined;
}

/** Returns the forms in which a configuration may name the host, the most specific first. */
function formsOf({ host, hostname }: URL, port: string): readonly string[] {
  return [host, hostname, `:${port}`];
}
