import { describe, expect, test } from 'vitest';
import type { OrganizationName } from '../../src/oci/reference.ts';
import {
  type Namespace,
  namespaceId,
  organizationAt,
  resolveHost,
  type ServedHost,
} from '../../src/namespaces/namespace.ts';

const central: Namespace = { kind: 'central', store: 'central' };
const fra: Namespace = { kind: 'node', name: 'fra', region: 'eu', store: 'eu-1' };
const ams: Namespace = { kind: 'node', name: 'ams', region: 'eu', store: 'eu-1' };
const dal: Namespace = { kind: 'node', name: 'dal', region: 'us', store: 'us-1' };

const hosts: readonly ServedHost[] = [
  { host: 'index.example.com', namespace: central },
  { host: 'localhost:8787', namespace: central },
  { host: ':9000', namespace: fra },
  { host: 'index.dal.example.com', namespace: dal },
];
const mirrorHosts = [
  { host: 'hub.example.com', namespace: central, organization: 'hub' as OrganizationName },
  { host: ':9002', namespace: central, organization: 'quay' as OrganizationName },
];
const consoleHosts = ['console.example.com', ':9001'];

describe('resolveHost', () => {
  test.each([
    ['https://index.example.com/v2/', central],
    ['https://INDEX.example.com/v2/', central],
    ['http://index.example.com:8080/v2/', central],
    ['https://index.dal.example.com/', dal],
    ['http://localhost:8787/v2/', central],
    ['http://127.0.0.1:9000/v2/', fra],
    ['http://anything.example:9000/v2/', fra],
    ['http://[::1]:9000/v2/', fra],
    ['http://index.dal.example.com:9000/v2/', dal],
    ['http://localhost:9000/v2/', fra],
    ['https://hub.example.com/v2/', central],
    ['https://console.example.com/', 'console'],
    ['http://console.example.com:9000/', 'console'],
    ['http://localhost:9001/', 'console'],
  ])('finds the registry or console at %s', (url, namespace) => {
    expect(resolveHost({ hosts, mirrorHosts, consoleHosts }, new URL(url))).toBe(namespace);
  });

  test.each([
    'https://example.com/',
    'https://other.index.example.com/',
    'https://index.example.com.evil.example/',
    'https://index.example.com./',
    'http://localhost/',
    'http://localhost:8788/',
    'https://index-example.com/',
    'https://evil.example/index.example.com',
    'https://index.example.com@evil.example/',
  ])('finds nothing at %s', (url) => {
    expect(resolveHost({ hosts, mirrorHosts, consoleHosts }, new URL(url))).toBeUndefined();
  });
});

describe('namespaceId', () => {
  test('tells central from every node, even from one of that name', () => {
    expect(namespaceId(central)).toBe('central');
    expect(namespaceId({ ...fra, name: 'central' })).toBe('node:central');
  });

  test('tells nodes apart, even two that share a store: a credential may be good at only one of them', () => {
    expect(new Set([fra, ams, dal].map(namespaceId)).size).toBe(3);
  });
});

describe('organizationAt', () => {
  test.each([
    ['https://hub.example.com/v2/', 'hub'],
    ['http://hub.example.com:8080/v2/', 'hub'],
    ['https://index.example.com/v2/', undefined],
    ['https://other.example.com/v2/', undefined],
    ['http://localhost:9002/v2/', 'quay'],
    ['http://hub.example.com:9002/v2/', 'hub'],
    // A name of a whole registry, or of the console, is that at every port.
    ['http://index.example.com:9002/v2/', undefined],
    ['http://console.example.com:9002/', undefined],
  ])('finds the organization of the host %s', (url, organization) => {
    expect(organizationAt({ hosts, mirrorHosts, consoleHosts }, new URL(url))).toBe(organization);
  });
});
