/**
 * Configuration: the variables and secrets of `wrangler.toml`, parsed once per isolate.
 * Half a configuration serves nothing: the first bad or missing value is named, and every request answers 503.
 */
import { z } from 'zod';
import { DAY, HOUR } from './durations.ts';
import {
  type CentralNamespace,
  type NodeNamespace,
  resolveNamespace,
  type ServedHost,
  type StoreName,
} from './namespaces/namespace.ts';
import { DEFAULT_LIMITS, type StoreLimits } from './stores/organizations/limits.ts';

export interface Config {
  readonly hosts: readonly ServedHost[];
  readonly central: CentralNamespace;
  readonly nodes: readonly NodeNamespace[];
  /** Central's first. Two nodes may share one. */
  readonly stores: readonly StoreName[];
  /** Whether central's database has read replicas, of which nodes ask the nearest. */
  readonly centralHasReplicas: boolean;
  /**
   * g of the collection rules: for how long a blob that was pushed, mounted or found by HEAD is kept without a
   * manifest.
   */
  readonly graceMilliseconds: number;
  /** For how long the audit log is kept. */
  readonly auditMilliseconds: number;
  /** What each store lets an organization have, whether or not it has a quota. */
  readonly limits: StoreLimits;
  /** For how long a replaced write of a tag is kept in its history. */
  readonly historyMilliseconds: number;
  /**
   * Whether anything is collected or evicted, expired uploads and orphans included: an operator stops it while a
   * database is restored.
   */
  readonly collects: boolean;
  /** What nodes are to stay within, by store. */
  readonly evictionLimits: ReadonlyMap<StoreName, EvictionLimits>;
  /** Of each store, bytes that are read and compared with their digests; 0 for none. */
  readonly scrubBytesPerDay: number;
  /** For how long an object is kept that no row names: as long as a database can be restored to an earlier moment. */
  readonly orphanMilliseconds: number;
  /** Base64, at least 32 bytes. The first signs; both verify. */
  readonly signingKeys: readonly string[];
  /** Origins whose pages may read what their user may read: `https://ui.example.com`. */
  readonly corsOrigins: readonly string[];
  /** Acts as an administrator, to create the first credential. */
  readonly bootstrapSecret: string | undefined;
  /** Base URL of the platform that is asked about tokens which Berth does not know, without a slash at its end. */
  readonly platformAuthUrl: string | undefined;
}

/** When images leave a node's store again. */
export interface EvictionLimits {
  /** Of its own blobs; undefined for no limit. */
  readonly bytes: number | undefined;
  /** Without a pull there; undefined for no limit. */
  readonly idleMilliseconds: number | undefined;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const host = z
  .string()
  .regex(/^[a-z0-9.-]*(?::\d+)?$/, 'must be a host name in lower case, <host>:<port>, or :<port>')
  .min(1);

/** Where a Durable Object or a bucket can be asked to lie (Cloudflare, "Data location", location hints). */
export const REGIONS = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me'] as const;

const storeName = z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'must be lowercase letters, digits and "-"');

const signingKey = z
  .string()
  .refine(
    (text) => (decodedLength(text) ?? 0) >= 32,
    'must be base64 of at least 32 random bytes: openssl rand -base64 32',
  );

const hosts = z.array(host).min(1, 'needs at least one host');

const node = z.strictObject({
  name: storeName.refine((name) => name !== 'central', 'must not be "central"'),
  hosts,
  store: storeName,
  region: z.enum(REGIONS),
  limit_bytes: z.int().positive().optional(),
  idle_days: z.number().positive().optional(),
});

/** As browsers write it in the header Origin, with which it is compared. */
const origin = z
  .string()
  .refine(
    (text) => URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text,
    'must be an origin without a path: https://ui.example.com',
  );

/** Of the variable REGISTRY: which namespaces are served where. */
export const registry = z
  .strictObject({
    central: z.strictObject({ hosts, store: storeName, replicas: z.boolean().default(false) }),
    nodes: z.array(node).default([]),
    grace_hours: z.number().positive().default(24),
    audit_days: z.number().positive().default(90),
    organization_manifests: z.int().positive().default(DEFAULT_LIMITS.manifests),
    organization_tags: z.int().positive().default(DEFAULT_LIMITS.tags),
    organization_manifest_gb: z
      .number()
      .positive()
      .default(DEFAULT_LIMITS.manifestBytes / 1e9),
    history_entries: z.int().positive().max(1000).default(DEFAULT_LIMITS.historyEntries),
    history_days: z.number().positive().default(365),
    collect: z.boolean().default(true),
    scrub_gb_per_day: z.number().nonnegative().default(20),
    orphan_days: z.number().min(1).default(30),
    cors_origins: z.array(origin).default([]),
  })
  .superRefine(({ central, nodes }, context) => {
    const taken = new Set(central.hosts);
    const names = new Set<string>();
    for (const [i, { name, hosts: served, store }] of nodes.entries()) {
      const problem = (path: string, message: string): void =>
        context.addIssue({ code: 'custom', path: ['nodes', i, path], message });
      if (store === central.store) problem('store', "must not be central's");
      if (names.has(name)) problem('name', 'is the name of another node as well');
      names.add(name);
      for (const one of served) {
        if (taken.has(one)) problem('hosts', `${one} is a host of another namespace as well`);
        taken.add(one);
      }
    }
  });

/** Plain HTTP is for development: to hosts whose connections never leave the machine, wherever Berth runs. */
const LOOPBACK = /^(?:localhost|.+\.localhost|127\.0\.0\.1|\[::1\])$/;

/** @param hostname as `URL` has it */
export function isLoopback(hostname: string): boolean {
  return LOOPBACK.test(hostname);
}

const platformUrl = z.string().transform((text, context): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const problem = (message: string): string => {
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  };
  if (url === undefined || !['https:', 'http:'].includes(url.protocol)) {
    return problem('must be the base URL of a platform: https://api.example.com');
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
  PLATFORM_AUTH_URL: platformUrl.optional(),
});

/** @throws ConfigError naming the first value that is bad or missing */
export function parseConfig(env: object): Config {
  const parsed = environment.safeParse(env);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ConfigError(`${issue?.path.join('.') ?? 'configuration'}: ${issue?.message ?? 'is invalid'}`);
  }
  const { REGISTRY, SIGNING_KEY, SIGNING_KEY_SECONDARY, BOOTSTRAP_SECRET, PLATFORM_AUTH_URL } = parsed.data;
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
    centralHasReplicas: REGISTRY.central.replicas,
    graceMilliseconds: REGISTRY.grace_hours * HOUR,
    auditMilliseconds: REGISTRY.audit_days * DAY,
    limits: {
      manifests: REGISTRY.organization_manifests,
      tags: REGISTRY.organization_tags,
      manifestBytes: REGISTRY.organization_manifest_gb * 1e9,
      historyEntries: REGISTRY.history_entries,
    },
    historyMilliseconds: REGISTRY.history_days * DAY,
    collects: REGISTRY.collect,
    evictionLimits: evictionLimits(REGISTRY.nodes),
    scrubBytesPerDay: REGISTRY.scrub_gb_per_day * 1e9,
    orphanMilliseconds: REGISTRY.orphan_days * DAY,
    corsOrigins: REGISTRY.cors_origins,
    signingKeys: [SIGNING_KEY, ...(SIGNING_KEY_SECONDARY === undefined ? [] : [SIGNING_KEY_SECONDARY])],
    bootstrapSecret: BOOTSTRAP_SECRET,
    platformAuthUrl: PLATFORM_AUTH_URL,
  };
  if (PLATFORM_AUTH_URL !== undefined) {
    const url = new URL(PLATFORM_AUTH_URL);
    if (resolveNamespace(config.hosts, url) !== undefined)
      throw new ConfigError(
        `PLATFORM_AUTH_URL: must not be a host of this registry, which would ask itself: ${url.host}`,
      );
  }
  const bindings = config.stores.flatMap((store) => [databaseBinding(store), bucketBinding(store)]);
  for (const binding of [...bindings, 'REPLICATION_QUEUE', 'CREDENTIAL_CHECKS', 'ADDRESS_CHECKS']) {
    if (!(binding in env)) throw new ConfigError(`${binding}: the binding is missing from wrangler.toml`);
  }
  return config;
}

/** Of nodes that share a store, the smaller limit counts. */
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

export function databaseBinding(store: StoreName): string {
  return `DB_${bindingSuffix(store)}`;
}

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
