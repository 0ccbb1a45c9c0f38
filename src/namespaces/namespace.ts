/** What a hostname resolves to. Its `store` names the D1 database and R2 bucket that hold its state. */
export type Namespace = CentralNamespace | NodeNamespace;

export interface CentralNamespace {
  readonly kind: 'central';
  readonly store: StoreName;
}

export interface NodeNamespace {
  readonly kind: 'node';
  readonly name: string;
  /** A location hint, where its Durable Object is put: `weur`. */
  readonly region: string;
  readonly store: StoreName;
}

/** Names one D1 database and one R2 bucket: bindings `DB_<NAME>` and `BLOBS_<NAME>`, upper case, "-" as "_". */
export type StoreName = string;

/**
 * One host at which a namespace is served: `index.example.com`, `localhost:8787`, or `:8787` for a port of any host.
 */
export interface ServedHost {
  readonly host: string;
  readonly namespace: Namespace;
}

/**
 * The audience of an access token. Two nodes that share a store have one each: a credential may be good at only one of
 * them.
 */
export function namespaceId(namespace: Namespace): string {
  return namespace.kind === 'central' ? 'central' : `node:${namespace.name}`;
}

/** How people and credentials call a namespace: `central`, or the node's name. */
export function namespaceName(namespace: Namespace): string {
  return namespace.kind === 'central' ? 'central' : namespace.name;
}

/**
 * Finds the namespace of a request by its host and port, undefined for a host that nothing is served at. A name goes
 * before a port: a host that is served by its name is found on every port.
 * @param port the one that the request came in on, if a proxy in front of it shows another to the client
 */
export function resolveNamespace(hosts: readonly ServedHost[], url: URL, port = url.port): Namespace | undefined {
  for (const candidate of [url.host, url.hostname, `:${port}`]) {
    const served = hosts.find(({ host }) => host === candidate);
    if (served !== undefined) return served.namespace;
  }
  return undefined;
}
