/**
 * Configuration: the variables and secrets of `wrangler.toml`, parsed once per isolate. If a value is missing or
 * invalid, every request answers 503 with a message that names the first such value.
 */
import { z } from 'zod';
import { DAY, HOUR } from './durations.ts';
import { gatherNodes, pathInVariables } from './node-variables.ts';
import {
  type CentralNamespace,
  type Namespace,
  type NodeNamespace,
  resolveHost,
  type MirrorHost,
  type ServedHost,
  type StoreName,
} from './namespaces/namespace.ts';
import { isOrganizationName, type OrganizationName } from './oci/reference.ts';
import { DEFAULT_LIMITS, type StoreLimits } from './stores/organizations/limits.ts';

export interface Config {
  readonly hosts: readonly ServedHost[];
  readonly central: CentralNamespace;
  readonly nodes: readonly NodeNamespace[];
  /** Central's store comes first. Two nodes may share a store. */
  readonly stores: readonly StoreName[];
  /** Whether central's database has read replicas. Nodes then read from the nearest one. */
  readonly centralHasReplicas: boolean;
  /** The longest that a push at a node waits for central to say whether it has a layer. */
  readonly pushWaitMilliseconds: number;
  /**
   * The time for which a blob without a manifest is kept after a push, a mount or a HEAD. The collection rules call it
   * g.
   */
  readonly graceMilliseconds: number;
  /** The time for which entries of the audit log are kept. */
  readonly auditMilliseconds: number;
  /** The most that an organization may have in each store, with or without a quota. */
  readonly limits: StoreLimits;
  /** The time for which a tag's history keeps a write that another write replaced. */
  readonly historyMilliseconds: number;
  /**
   * Whether maintenance collects and evicts anything, including expired uploads and orphans. An operator turns this
   * off while restoring a database.
   */
  readonly collects: boolean;
  /** The limits above which maintenance evicts images from nodes, by store. */
  readonly evictionLimits: ReadonlyMap<StoreName, EvictionLimits>;
  /** Bytes of each store that the scrub reads and compares with their digests each day; 0 turns the scrub off. */
  readonly scrubBytesPerDay: number;
  /**
   * The time for which an object without a row is kept. It must reach back as far as a database can be restored,
   * because a restored database may name the object again.
   */
  readonly orphanMilliseconds: number;
  /** Base64 of at least 32 bytes each. The first key signs; every key verifies. */
  readonly signingKeys: readonly string[];
  /** The longest body, in bytes, that clients are told to send. */
  readonly chunkMaxBytes: number;
  /** The number of successful reads that one log line stands for; 1 logs every read. */
  readonly readsPerLogLine: number;
  /** Hosts at which the repositories of one mirror are served by themselves. */
  readonly mirrorHosts: readonly MirrorHost[];
  /** Hosts of the console, in the same form as a registry's; empty if there is no console. */
  readonly consoleHosts: readonly string[];
  /** Origins whose pages may read what their user may read, such as `https://ui.example.com`. */
  readonly corsOrigins: readonly string[];
  /** Grants administrator access, so that an operator can create the first credential. */
  readonly bootstrapSecret: string | undefined;
  /** Base URL of the platform that checks tokens unknown to Berth, without a trailing slash. */
  readonly platformAuthUrl: string | undefined;
  /** Where pulls are read back from; undefined if the deployment has no token for it. */
  readonly analytics: Analytics | undefined;
}

/** The SQL API of Analytics Engine, for one account. */
export interface Analytics {
  readonly url: string;
  readonly token: string;
}

/** When images are evicted from a node's store. */
export interface EvictionLimits {
  /** Bytes of blobs that the store may hold; undefined for no limit. */
  readonly bytes: number | undefined;
  /** The longest that an image may go without a pull from this store; undefined for no limit. */
  readonly idleMilliseconds: number | undefined;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const host = z
  .string()
  .regex(/^[a-z0-9.-]*(?::\d+)?$/, 'must be a host name in lower case, <host>:<port>, or :<port>')
  .min(1);

/** Location hints for Durable Objects and buckets (Cloudflare, "Data location"). */
export const REGIONS = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me'] as const;

const storeName = z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'must be lowercase letters, digits and "-"');

const signingKey = z
  .string()
  .refine(
    (text) => (decodedLength(text) ?? 0) >= 32,
    'must be base64 of at least 32 random bytes: openssl rand -base64 32',
  );

const hosts = z.array(host).min(1, 'needs at least one host');

/** Hosts of mirrors, each with the organization whose repositories it serves. */
const mirrorHosts = z
  .record(
    host,
    z.custom<OrganizationName>(
      (name) => typeof name === 'string' && isOrganizationName(name),
      'must be the name of an organization',
    ),
  )
  .default({});

const node = z.strictObject({
  name: storeName.refine((name) => name !== 'central', 'must not be "central"'),
  hosts,
  mirror_hosts: mirrorHosts,
  store: storeName,
  region: z.enum(REGIONS),
  limit_bytes: z.int().positive().optional(),
  idle_days: z.number().positive().optional(),
});

/** Must equal what browsers write in the header Origin, because the two are compared as strings. */
const origin = z
  .string()
  .refine(
    (text) => URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text,
    'must be an origin without a path: https://ui.example.com',
  );

/** The shape of REGISTRY with all nodes: the namespaces, the hosts they are served at, and their limits. */
export const registry = z
  .strictObject({
    central: z.strictObject({
      hosts,
      mirror_hosts: mirrorHosts,
      store: storeName,
      replicas: z.boolean().default(false),
    }),
    nodes: z.array(node).default([]),
    grace_hours: z.number().positive().default(24),
    audit_days: z.number().positive().default(90),
    organization_manifests: z.int().positive().default(DEFAULT_LIMITS.manifests),
    organization_tags: z.int().positive().default(DEFAULT_LIMITS.tags),
    organization_blobs: z.int().positive().default(DEFAULT_LIMITS.blobs),
    organization_manifest_gb: z
      .number()
      .positive()
      .default(DEFAULT_LIMITS.manifestBytes / 1e9),
    history_entries: z.int().positive().max(1000).default(DEFAULT_LIMITS.historyEntries),
    history_days: z.number().positive().default(365),
    collect: z.boolean().default(true),
    scrub_gb_per_day: z.number().nonnegative().default(20),
    orphan_days: z.number().min(1).default(30),
    chunk_max_mib: z.int().min(8).max(4096).default(64),
    reads_per_log_line: z.int().positive().default(1),
    push_wait_ms: z.int().positive().max(5000).default(250),
    cors_origins: z.array(origin).default([]),
    console: z.strictObject({ hosts }).optional(),
  })
  .superRefine(({ central, nodes, console }, context) => {
    const taken = new Set([...central.hosts, ...Object.keys(central.mirror_hosts)]);
    const names = new Set<string>();
    for (const [i, { name, hosts: served, mirror_hosts, store }] of nodes.entries()) {
      const problem = (path: string, message: string): void =>
        context.addIssue({ code: 'custom', path: ['nodes', i, path], message });
      if (store === central.store) problem('store', "must not be central's");
      if (names.has(name)) problem('name', 'another node already has this name');
      names.add(name);
      for (const one of [...served, ...Object.keys(mirror_hosts)]) {
        if (taken.has(one)) problem('hosts', `${one} is already a host of another namespace`);
        taken.add(one);
      }
    }
    // Scripts and cookies must never share an origin with bytes that tenants push.
    for (const one of console?.hosts ?? []) {
      if (taken.has(one))
        context.addIssue({
          code: 'custom',
          path: ['console', 'hosts'],
          message: `${one} is already a host of a registry`,
        });
    }
  });

/** Hosts whose connections never leave the machine. Plain HTTP is allowed only to these, for development. */
const LOOPBACK = /^(?:localhost|.+\.localhost|127\.0\.0\.1|\[::1\])$/;

/** Returns whether a connection to the host stays on this machine. @param hostname as `URL.hostname` writes it */
export function isLoopback(hostname: string): boolean {
  return LOOPBACK.test(hostname);
}

/** A base URL that secrets are sent to. @param what the thing that it leads to, for messages */
const secretUrl = (what: string, example: string) =>
  z.string().transform((text, context): string => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const problem = (message: string): string => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    if (url === undefined || !['https:', 'http:'].includes(url.protocol)) {
      return problem(`must be the base URL of ${what}: ${example}`);
    }
    if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
      return problem('must be https: tokens are sent to it (http only to localhost, *.localhost, 127.0.0.1 and [::1])');
    }
    if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
      return problem('must have no user, password, query or fragment');
    }
    return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
  });

const environment = z.object({
  REGISTRY: registry,
  SIGNING_KEY: signingKey,
  SIGNING_KEY_SECONDARY: signingKey.optional(),
  BOOTSTRAP_SECRET: z.string().min(24, 'must have at least 24 characters').optional(),
  PLATFORM_AUTH_URL: secretUrl('a platform', 'https://api.example.com').optional(),
  ANALYTICS_URL: secretUrl(
    'the SQL API',
    'https://api.cloudflare.com/client/v4/accounts/<account id>/analytics_engine/sql',
  ).optional(),
  ANALYTICS_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'must be a token, without spaces')
    .optional(),
});

const OTHER_BINDINGS = [
  'REPLICATION_QUEUE',
  'ORGANIZATION_IMPORTS',
  'MIRROR_BLOB',
  'ORGANIZATION_MIRROR',
  'CREDENTIAL_CHECKS',
  'ADDRESS_CHECKS',
];

/** Parses the Worker's variables and secrets. @throws ConfigError naming the first missing or invalid value */
export function parseConfig(env: object): Config {
  const parsed = environment.safeParse(gatherNodes(env));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const path = issue === undefined ? 'configuration' : pathInVariables(env, issue.path);
    throw new ConfigError(`${path}: ${issue?.message ?? 'is invalid'}`);
  }
  const {
    REGISTRY,
    SIGNING_KEY,
    SIGNING_KEY_SECONDARY,
    BOOTSTRAP_SECRET,
    PLATFORM_AUTH_URL,
    ANALYTICS_URL,
    ANALYTICS_TOKEN,
  } = parsed.data;
  const central: CentralNamespace = { kind: 'central', store: REGISTRY.central.store };
  const nodes = REGISTRY.nodes.map(({ name, region, store }): NodeNamespace => ({ kind: 'node', name, region, store }));
  const config: Config = {
    hosts: [
      ...REGISTRY.central.hosts.map((name) => ({ host: name, namespace: central })),
      ...REGISTRY.nodes.flatMap((each, i) =>
        each.hosts.map((name) => ({ host: name, namespace: nodes[i] ?? central })),
      ),
    ],
    central,
    nodes,
    stores: [...new Set([central.store, ...nodes.map(({ store }) => store)])],
    mirrorHosts: [
      ...mirrorHostsOf(REGISTRY.central.mirror_hosts, central),
      ...REGISTRY.nodes.flatMap((each, i) => mirrorHostsOf(each.mirror_hosts, nodes[i] ?? central)),
    ],
    centralHasReplicas: REGISTRY.central.replicas,
    pushWaitMilliseconds: REGISTRY.push_wait_ms,
    graceMilliseconds: REGISTRY.grace_hours * HOUR,
    auditMilliseconds: REGISTRY.audit_days * DAY,
    limits: {
      manifests: REGISTRY.organization_manifests,
      tags: REGISTRY.organization_tags,
      blobs: REGISTRY.organization_blobs,
      manifestBytes: REGISTRY.organization_manifest_gb * 1e9,
      historyEntries: REGISTRY.history_entries,
    },
    historyMilliseconds: REGISTRY.history_days * DAY,
    collects: REGISTRY.collect,
    evictionLimits: evictionLimits(REGISTRY.nodes),
    scrubBytesPerDay: REGISTRY.scrub_gb_per_day * 1e9,
    orphanMilliseconds: REGISTRY.orphan_days * DAY,
    chunkMaxBytes: REGISTRY.chunk_max_mib * 1024 ** 2,
    readsPerLogLine: REGISTRY.reads_per_log_line,
    consoleHosts: REGISTRY.console?.hosts ?? [],
    corsOrigins: REGISTRY.cors_origins,
    signingKeys: [SIGNING_KEY, ...(SIGNING_KEY_SECONDARY === undefined ? [] : [SIGNING_KEY_SECONDARY])],
    bootstrapSecret: BOOTSTRAP_SECRET,
    platformAuthUrl: PLATFORM_AUTH_URL,
    analytics:
      ANALYTICS_URL === undefined || ANALYTICS_TOKEN === undefined
        ? undefined
        : { url: ANALYTICS_URL, token: ANALYTICS_TOKEN },
  };
  if (PLATFORM_AUTH_URL !== undefined) {
    const url = new URL(PLATFORM_AUTH_URL);
    if (resolveHost(config, url) !== undefined)
      throw new ConfigError(
        `PLATFORM_AUTH_URL: must not point to this registry, which would then ask itself: ${url.host} is its own host`,
      );
  }
  const bindings = config.stores.flatMap((store) => [databaseBinding(store), bucketBinding(store)]);
  for (const binding of [...bindings, ...OTHER_BINDINGS]) {
    if (!(binding in env)) throw new ConfigError(`${binding}: the binding is missing from wrangler.toml`);
  }
  return config;
}

function mirrorHostsOf(served: Readonly<Record<string, OrganizationName>>, namespace: Namespace): MirrorHost[] {
  return Object.entries(served).map(([name, organization]) => ({ host: name, namespace, organization }));
}

/** Returns the limits by store. If nodes share a store, the smallest limit applies. */
function evictionLimits(nodes: readonly z.infer<typeof node>[]): Map<StoreName, EvictionLimits> {
  return new Map(
    [...Map.groupBy(nodes, ({ store }) => store)].map(([store, sharing]) => {
      const days = smaller(sharing.map(({ idle_days }) => idle_days));
      return [
        store,
        {
          bytes: smaller(sharing.map(({ limit_bytes }) => limit_bytes)),
          idleMilliseconds: days === undefined ? undefined : days * DAY,
        },
      ];
    }),
  );
}

function smaller(values: readonly (number | undefined)[]): number | undefined {
  const given = values.filter((value) => value !== undefined);
  return given.length === 0 ? undefined : Math.min(...given);
}

/** Returns the name of the store's D1 binding, such as `DB_NODE1`. */
export function databaseBinding(store: StoreName): string {
  return `DB_${bindingSuffix(store)}`;
}

/** Returns the name of the store's R2 binding, such as `BLOBS_NODE1`. */
export function bucketBinding(store: StoreName): string {
  return `BLOBS_${bindingSuffix(store)}`;
}

function bindingSuffix(store: StoreName): string {
  return store.toUpperCase().replaceAll('-', '_');
}

function decodedLength(base64: string): number | undefined {
  if (/\s/.test(base64)) return undefined;
  try {
    return Uint8Array.fromBase64(base64).byteLength;
  } catch {
    return undefined;
  }
}
