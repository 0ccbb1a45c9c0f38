import { describe, expect, test } from 'vitest';
import { bucketBinding, ConfigError, databaseBinding, parseConfig } from '../src/config.ts';
import { SigningKeys } from '../src/auth/signing-keys.ts';

const key = (byte: number, length = 32): string => new Uint8Array(length).fill(byte).toBase64();

const registry = { central: { hosts: ['index.example.com', ':8787'], store: 'central' }, nodes: [], grace_hours: 2 };
const environment = {
  REGISTRY: registry,
  SIGNING_KEY: key(1),
  DB_CENTRAL: {},
  BLOBS_CENTRAL: {},
  REPLICATION_QUEUE: {},
  ORGANIZATION_IMPORTS: {},
  MIRROR_BLOB: {},
  ORGANIZATION_MIRROR: {},
  CREDENTIAL_CHECKS: {},
  ADDRESS_CHECKS: {},
};

function without(...names: readonly string[]): object {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !names.includes(name)));
}

function withCentral(central: object): object {
  return { ...environment, REGISTRY: { ...registry, central: { ...registry.central, ...central } } };
}

function withNodes(...nodes: readonly object[]): object {
  return { ...environment, REGISTRY: { ...registry, nodes } };
}

function node(name: string, changes: object = {}): object {
  return { name, hosts: [`index.${name}.example.com`], store: name, region: 'weur', ...changes };
}

function problemOf(env: object): string {
  try {
    parseConfig(env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  return 'none';
}

describe('nodes in several variables', () => {
  test('are read in the order of the variables', () => {
    const env = { ...withNodes(node('a')), NODES_10: [node('d')], NODES_2: [node('b'), node('c')] };
    const bound = ['A', 'B', 'C', 'D'].flatMap((store) => [`DB_${store}`, `BLOBS_${store}`]);
    const { nodes, hosts } = parseConfig({ ...env, ...Object.fromEntries(bound.map((name) => [name, {}])) });
    expect(nodes.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd']);
    expect(hosts.map(({ host }) => host)).toContain('index.d.example.com');
  });

  test('are checked together', () => {
    expect(problemOf({ ...withNodes(node('a')), NODES_2: [node('a')] })).toBe(
      'NODES_2.0.name: another node already has this name',
    );
    expect(problemOf({ ...without('REGISTRY'), NODES_2: [node('a')] })).toMatch(/^REGISTRY\.central: /);
  });

  test('are named in an error by their variable and their index in it', () => {
    const bad = node('c', { region: 'europe' });
    const both = withNodes(node('a'), node('b'));
    expect(problemOf({ ...withNodes(node('a'), bad), NODES_2: [node('b')] })).toMatch(/^REGISTRY\.nodes\.1\.region: /);
    expect(problemOf({ ...both, NODES_2: [node('d'), bad] })).toMatch(/^NODES_2\.1\.region: /);
    expect(problemOf({ ...both, NODES_2: [node('d')], NODES_10: [bad] })).toMatch(/^NODES_10\.0\.region: /);
    expect(problemOf({ ...environment, NODES_2: 'fra' })).toMatch(/^NODES_2: /);
  });
});

describe('a configuration', () => {
  test('lists its hosts and stores', () => {
    const central = { kind: 'central', store: 'central' };
    expect(parseConfig(environment)).toEqual({
      hosts: [
        { host: 'index.example.com', namespace: central },
        { host: ':8787', namespace: central },
      ],
      central,
      nodes: [],
      stores: ['central'],
      centralHasReplicas: false,
      pushWaitMilliseconds: 250,
      graceMilliseconds: 7_200_000,
      auditMilliseconds: 90 * 24 * 3_600_000,
      limits: {
        manifests: 1_000_000,
        tags: 1_000_000,
        blobs: 3_000_000,
        manifestBytes: 2_000_000_000,
        historyEntries: 100,
      },
      historyMilliseconds: 365 * 86_400_000,
      collects: true,
      evictionLimits: new Map(),
      scrubBytesPerDay: 20_000_000_000,
      orphanMilliseconds: 30 * 86_400_000,
      chunkMaxBytes: 64 * 1024 ** 2,
      readsPerLogLine: 1,
      mirrorHosts: [],
      consoleHosts: [],
      corsOrigins: [],
      signingKeys: [key(1)],
      bootstrapSecret: undefined,
    });
  });

  test('lists its nodes and stores: two nodes may share a store', () => {
    const env = { ...withNodes(node('fra'), node('ams', { store: 'fra' })), DB_FRA: {}, BLOBS_FRA: {} };
    const [fra, ams] = ['fra', 'ams'].map((name) => ({ kind: 'node', name, region: 'weur', store: 'fra' }));
    const { nodes, stores, hosts } = parseConfig(env);
    expect({ nodes, stores }).toEqual({ nodes: [fra, ams], stores: ['central', 'fra'] });
    expect(hosts.slice(2)).toEqual([
      { host: 'index.fra.example.com', namespace: fra },
      { host: 'index.ams.example.com', namespace: ams },
    ]);
  });

  test('lists the limits of nodes; for two that share a store, the smaller limit counts', () => {
    const nodes = [
      node('fra', { limit_bytes: 2000, idle_days: 3 }),
      node('ams', { store: 'fra', limit_bytes: 1000 }),
      node('sgp'),
    ];
    const env = { ...withNodes(...nodes), DB_FRA: {}, BLOBS_FRA: {}, DB_SGP: {}, BLOBS_SGP: {} };
    expect(parseConfig(env).evictionLimits).toEqual(
      new Map([
        ['fra', { bytes: 1000, idleMilliseconds: 3 * 86_400_000 }],
        ['sgp', { bytes: undefined, idleMilliseconds: undefined }],
      ]),
    );
  });

  test('can turn collection off', () => {
    expect(parseConfig({ ...environment, REGISTRY: { ...registry, collect: false } }).collects).toBe(false);
  });

  test('sets the limits of organizations', () => {
    const limits = {
      organization_manifests: 10,
      organization_tags: 20,
      organization_blobs: 30,
      organization_manifest_gb: 0.5,
      history_entries: 7,
      history_days: 2,
    };
    expect(parseConfig({ ...environment, REGISTRY: { ...registry, ...limits } })).toMatchObject({
      limits: { manifests: 10, tags: 20, blobs: 30, manifestBytes: 500_000_000, historyEntries: 7 },
      historyMilliseconds: 2 * 86_400_000,
    });
  });

  test('limits how long a push waits for central, by default a quarter of a second', () => {
    expect(parseConfig(environment).pushWaitMilliseconds).toBe(250);
    expect(parseConfig({ ...environment, REGISTRY: { ...registry, push_wait_ms: 40 } }).pushWaitMilliseconds).toBe(40);
  });

  test('has defaults for its nodes and the grace time', () => {
    const { graceMilliseconds } = parseConfig({ ...environment, REGISTRY: { central: registry.central } });
    expect(graceMilliseconds).toBe(24 * 3_600_000);
  });

  test('signs with the first key and verifies with the second as well', () => {
    expect(parseConfig({ ...environment, SIGNING_KEY_SECONDARY: key(2) }).signingKeys).toEqual([key(1), key(2)]);
  });

  test('accepts a bootstrap secret of 24 characters', () => {
    expect(parseConfig({ ...environment, BOOTSTRAP_SECRET: 'a'.repeat(24) }).bootstrapSecret).toBe('a'.repeat(24));
  });

  test.each([
    ['https://api.example.com', 'https://api.example.com'],
    ['https://api.example.com/', 'https://api.example.com'],
    ['https://API.example.com:8443/platform/', 'https://api.example.com:8443/platform'],
    ['http://localhost:9000', 'http://localhost:9000'],
    ['http://api.localhost', 'http://api.localhost'],
    ['http://127.0.0.1:9000/', 'http://127.0.0.1:9000'],
    ['http://[::1]:9000', 'http://[::1]:9000'],
  ])('accepts a platform to ask about tokens: %s', (url, base) => {
    expect(parseConfig({ ...environment, PLATFORM_AUTH_URL: url }).platformAuthUrl).toBe(base);
  });

  test('ignores unknown bindings', () => {
    expect(problemOf({ ...environment, OTHER: 5 })).toBe('none');
  });
});

describe('the error of a configuration names', () => {
  test.each([
    ['REGISTRY', without('REGISTRY')],
    ['REGISTRY', { ...environment, REGISTRY: JSON.stringify(registry) }],
    ['REGISTRY.central', { ...environment, REGISTRY: { nodes: [] } }],
    ['REGISTRY.central.hosts', withCentral({ hosts: undefined })],
    ['REGISTRY.central.hosts.1', withCentral({ hosts: ['index.example.com', ''] })],
    ['REGISTRY.central.hosts.0', withCentral({ hosts: [5] })],
    ['REGISTRY.central.store', withCentral({ store: undefined })],
    ['REGISTRY.grace_hours', { ...environment, REGISTRY: { ...registry, grace_hours: 0 } }],
    ['REGISTRY.grace_hours', { ...environment, REGISTRY: { ...registry, grace_hours: '24' } }],
    ['REGISTRY.scrub_gb_per_day', { ...environment, REGISTRY: { ...registry, scrub_gb_per_day: -1 } }],
    ['REGISTRY.orphan_days', { ...environment, REGISTRY: { ...registry, orphan_days: 0 } }],
    ['REGISTRY.push_wait_ms', { ...environment, REGISTRY: { ...registry, push_wait_ms: 0 } }],
    ['REGISTRY.push_wait_ms', { ...environment, REGISTRY: { ...registry, push_wait_ms: 5001 } }],
    ['REGISTRY', { ...environment, REGISTRY: { ...registry, grace: 1 } }],
    ['REGISTRY.central', withCentral({ host: 'index.example.com' })],
    ['SIGNING_KEY', without('SIGNING_KEY')],
    ['BOOTSTRAP_SECRET', { ...environment, BOOTSTRAP_SECRET: 5 }],
  ])('%s', (name, env) => {
    expect(problemOf(env)).toMatch(`${name}: `);
    expect(problemOf(env).split(': ')[0]).toBe(name);
  });

  test('a missing host', () => {
    expect(problemOf(withCentral({ hosts: [] }))).toBe('REGISTRY.central.hosts: needs at least one host');
  });

  test.each([
    'Index.example.com',
    'https://index.example.com',
    'index.example.com/v2',
    'a b',
    ':',
    'host:',
    ':port',
    '[::1]:80',
  ])('an invalid host: %j', (host) => {
    expect(problemOf(withCentral({ hosts: [host] }))).toBe(
      'REGISTRY.central.hosts.0: must be a host name in lower case, <host>:<port>, or :<port>',
    );
  });

  test.each([
    '*',
    'null',
    'ui.example.com',
    'https://ui.example.com/',
    'https://UI.example.com',
    'ftp://ui.example.com',
  ])('an origin that no browser sends: %j', (origin) => {
    expect(problemOf({ ...environment, REGISTRY: { ...registry, cors_origins: [origin] } })).toBe(
      'REGISTRY.cors_origins.0: must be an origin without a path: https://ui.example.com',
    );
  });

  test.each(['', 'Central', 'eu_1', '-eu', 'eu-', 'eu--1', 'eu.1'])('an invalid store name: %j', (store) => {
    expect(problemOf(withCentral({ store }))).toBe('REGISTRY.central.store: must be lowercase letters, digits and "-"');
  });

  test.each([
    ['nodes.0.name', 'must not be "central"', [node('central')]],
    [
      'nodes.1.name',
      'another node already has this name',
      [node('fra'), node('fra', { hosts: ['other.example.com'] })],
    ],
    ['nodes.0.store', "must not be central's", [node('fra', { store: 'central' })]],
    [
      'nodes.0.hosts',
      'index.example.com is already a host of another namespace',
      [node('fra', { hosts: ['index.example.com'] })],
    ],
    ['nodes.0.hosts', 'needs at least one host', [node('fra', { hosts: [] })]],
  ])('%s: %s', (name, problem, nodes) => {
    expect(problemOf(withNodes(...nodes))).toBe(`REGISTRY.${name}: ${problem}`);
  });

  test('an invalid region', () => {
    expect(problemOf(withNodes(node('fra', { region: 'europe' })))).toMatch(/^REGISTRY\.nodes\.0\.region: .*weur/);
  });

  test("the missing bindings of a node's store", () => {
    expect(problemOf(withNodes(node('fra')))).toBe('DB_FRA: the binding is missing from wrangler.toml');
  });

  test('a bootstrap secret that is too short', () => {
    expect(problemOf({ ...environment, BOOTSTRAP_SECRET: 'a'.repeat(23) })).toBe(
      'BOOTSTRAP_SECRET: must have at least 24 characters',
    );
  });

  test.each([
    ['', /base URL/],
    ['api.example.com', /base URL/],
    ['ftp://api.example.com', /base URL/],
    ['http://api.example.com', /must be https/],
    ['http://localhost.example.com', /must be https/],
    ['http://127.0.0.1.example.com', /must be https/],
    ['http://10.0.0.1', /must be https/],
    ['https://user:password@api.example.com', /no user/],
    ['https://api.example.com?x=1', /query/],
    ['https://api.example.com/#x', /fragment/],
  ])('an invalid platform: %j', (url, problem) => {
    expect(problemOf({ ...environment, PLATFORM_AUTH_URL: url })).toMatch(/^PLATFORM_AUTH_URL: must /);
    expect(problemOf({ ...environment, PLATFORM_AUTH_URL: url })).toMatch(problem);
  });

  test('an SQL API that is not encrypted, or a token with a space', () => {
    expect(problemOf({ ...environment, ANALYTICS_URL: 'http://api.example.com' })).toMatch(
      /^ANALYTICS_URL: must be https/,
    );
    expect(problemOf({ ...environment, ANALYTICS_TOKEN: 'a b' })).toMatch(/^ANALYTICS_TOKEN: must be a token/);
  });

  test.each([
    'https://index.example.com',
    'https://INDEX.example.com:443/',
    'https://index.example.com:8443/api',
    'http://localhost:8787',
    'https://index.fra.example.com',
    'https://console.example.com',
  ])('a platform that is the registry itself: %s', (url) => {
    const REGISTRY = { ...registry, nodes: [node('fra')], console: { hosts: ['console.example.com'] } };
    expect(problemOf({ ...environment, DB_FRA: {}, BLOBS_FRA: {}, REGISTRY, PLATFORM_AUTH_URL: url })).toBe(
      `PLATFORM_AUTH_URL: must not point to this registry, which would then ask itself: ${new URL(url).host} is its own host`,
    );
  });

  test.each([
    'DB_CENTRAL',
    'BLOBS_CENTRAL',
    'REPLICATION_QUEUE',
    'ORGANIZATION_IMPORTS',
    'MIRROR_BLOB',
    'ORGANIZATION_MIRROR',
    'CREDENTIAL_CHECKS',
    'ADDRESS_CHECKS',
  ])('a missing binding: %s', (binding) => {
    expect(problemOf(without(binding))).toBe(`${binding}: the binding is missing from wrangler.toml`);
  });

  test("a host of the console that is a registry's too", () => {
    const { hosts } = environment.REGISTRY.central;
    expect(problemOf({ ...environment, REGISTRY: { ...environment.REGISTRY, console: { hosts } } })).toBe(
      `REGISTRY.console.hosts: ${hosts[0]} is already a host of a registry`,
    );
  });

  test('the missing bindings of a store whose name has a "-"', () => {
    expect(problemOf(withCentral({ store: 'eu-west-1' }))).toBe(
      'DB_EU_WEST_1: the binding is missing from wrangler.toml',
    );
    expect([databaseBinding('eu-west-1'), bucketBinding('eu-west-1')]).toEqual(['DB_EU_WEST_1', 'BLOBS_EU_WEST_1']);
  });
});

describe('a signing key', () => {
  const problem = 'must be base64 of at least 32 random bytes: openssl rand -base64 32';

  test.each(['', 'secret', key(1, 31), `${key(1)}\n`, ` ${key(1)}`, key(255, 32).replaceAll('/', '_'), 'é'.repeat(43)])(
    'is refused with an error that names its variable, as the primary and as the secondary: %j',
    (bad) => {
      expect(problemOf({ ...environment, SIGNING_KEY: bad })).toBe(`SIGNING_KEY: ${problem}`);
      expect(problemOf({ ...environment, SIGNING_KEY_SECONDARY: bad })).toBe(`SIGNING_KEY_SECONDARY: ${problem}`);
    },
  );

  test.each([
    ['a length that base64 never has', `${'A'.repeat(43)}AA`],
    ['too much padding', `${'A'.repeat(43)}==`],
  ])('is refused with an error that names its variable if it has %s', (_, bad) => {
    expect(problemOf({ ...environment, SIGNING_KEY: bad })).toBe(`SIGNING_KEY: ${problem}`);
  });

  test.each([
    ['32 bytes', key(1)],
    ['32 bytes without padding', key(1).replace('=', '')],
    ['33 bytes', key(1, 33)],
    ['64 bytes', key(1, 64)],
  ])('may have %s, and then works', async (_, good) => {
    const { signingKeys } = parseConfig({ ...environment, SIGNING_KEY: good });
    await expect(SigningKeys.import(signingKeys)).resolves.toBeInstanceOf(SigningKeys);
  });
});
