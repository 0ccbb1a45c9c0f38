import { describe, expect, test } from 'vitest';
import { addressProblem, parseUpstream, type Reach } from '../../src/upstream/address.ts';
import { upstreamName } from '../../src/upstream/connect.ts';
import { reachOf } from '../../src/upstream/reach.ts';

const central = { kind: 'central', store: 'central' } as const;
const DEPLOYED = reachOf({
  hosts: [{ host: 'index.example.com', namespace: central }],
  mirrorHosts: [],
  consoleHosts: ['console.example.com'],
});
const LOCAL = reachOf({
  hosts: [
    { host: ':8787', namespace: central },
    { host: 'index.localhost', namespace: central },
  ],
  mirrorHosts: [],
  consoleHosts: [':8790'],
});

const problem = (url: string, reach: Reach = DEPLOYED): string | undefined => addressProblem(new URL(url), reach);

describe('an address that a deployment does not reach', () => {
  test.each([
    ['http://registry.example', 'over https'],
    ['ftp://registry.example', 'over https'],
    ['https://127.0.0.1', 'an address'],
    ['https://2130706433', 'an address'],
    ['https://0x7f.1', 'an address'],
    ['https://169.254.169.254/latest/meta-data', 'an address'],
    ['https://10.0.0.1', 'an address'],
    ['https://[::1]', 'an address'],
    ['https://[::ffff:7f00:1]', 'an address'],
    ['https://localhost', 'not a public name'],
    ['https://localhost.', 'not a public name'],
    ['https://a.localhost', 'not a public name'],
    ['https://registry', 'not a public name'],
    ['https://metadata.google.internal', 'not a public name'],
    ['https://registry.corp.', 'not a public name'],
    ['https://printer.local', 'not a public name'],
    ['https://index.example.com', 'a host of this registry'],
    ['https://index.example.com./v2/', 'a host of this registry'],
    ['https://INDEX.example.com:443', 'a host of this registry'],
    ['https://index.example.com:8443', 'a host of this registry'],
    ['https://console.example.com', 'a host of this registry'],
  ])('%s', (url, reason) => {
    expect(problem(url)).toContain(reason);
  });
});

test('any other name is reached over https', () => {
  for (const url of ['https://registry.example', 'https://registry.example:5000/v2/', 'https://xn--bcher-kva.example'])
    expect(problem(url)).toBeUndefined();
});

test('a local run also reaches its own machine, but not itself', () => {
  expect(problem('http://localhost:5000', LOCAL)).toBeUndefined();
  expect(problem('http://127.0.0.1:5000', LOCAL)).toBeUndefined();
  expect(problem('http://localhost:8787', LOCAL)).toContain('a host of this registry');
  expect(problem('http://127.0.0.1:8790', LOCAL)).toContain('a host of this registry');
  expect(problem('http://index.localhost:5000', LOCAL)).toContain('a host of this registry');
  expect(problem('http://169.254.169.254', LOCAL)).toContain('over https');
});

test('a configuration that names one of its hosts is a deployment', () => {
  const hosts = [':8787', 'index.example.com'].map((host) => ({ host, namespace: central }));
  expect(problem('http://localhost:5000', reachOf({ hosts, mirrorHosts: [], consoleHosts: [] }))).toBeDefined();
});

describe('an upstream', () => {
  const parse = (from: string) => parseUpstream(from, undefined, DEPLOYED);

  test.each(['hub', 'https://docker.io', 'https://index.docker.io', 'https://registry-1.docker.io'])(
    '%s is Docker Hub, with its token service and its library',
    (from) => {
      const hub = parse(from);
      expect(hub.url.href).toBe('https://registry-1.docker.io/');
      expect(hub.loginHosts).toEqual(['registry-1.docker.io', 'auth.docker.io']);
      expect(hub.hasCatalog).toBe(false);
      expect(upstreamName(hub, 'alpine')).toBe('library/alpine');
      expect(upstreamName(hub, 'grafana/grafana')).toBe('grafana/grafana');
    },
  );

  test.each([
    ['ghcr', 'ghcr.io'],
    ['quay', 'quay.io'],
    ['gcr', 'gcr.io'],
    ['k8s', 'registry.k8s.io'],
    ['ecr-public', 'public.ecr.aws'],
  ])('%s is %s', (from, host) => {
    expect(parse(from)).toMatchObject({ loginHosts: expect.arrayContaining([host]) });
    expect(parse(`https://${host}`)).toEqual(parse(from));
    expect(upstreamName(parse(from), 'one')).toBe('one');
  });

  test.each([
    ['dockerhub', 'one of hub, ghcr'],
    ['https://user:secret@registry.example', 'no login'],
    ['https://registry.example/v2', 'without a path: https://registry.example'],
    ['https://registry.example?x', 'without a path'],
    ['https://169.254.169.254', 'an address'],
  ])('%s is refused', (from, reason) => {
    expect(() => parse(from)).toThrow(reason);
  });
});
