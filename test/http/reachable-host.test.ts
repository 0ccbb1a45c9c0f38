import { expect, test } from 'vitest';
import { reachableHost } from '../../src/http/reachable-host.ts';

test.each([
  [['index.example.com'], 'index.example.com', 'index.example.com'],
  [['index.example.com'], 'localhost', 'index.example.com'],
  [[':8787'], '127.0.0.1', 'localhost:8787'],
  [['index.example.com', ':8787'], 'index.example.com', 'index.example.com'],
  [['index.example.com', ':8787'], 'localhost', 'localhost:8787'],
  [['console.localhost', ':8790'], 'registry.localhost', 'console.localhost:8790'],
  [[], 'localhost', undefined],
])('of the hosts %j, a client that asked %s reaches %s', (hosts, asked, reached) => {
  expect(reachableHost(hosts, asked)).toBe(reached);
});
