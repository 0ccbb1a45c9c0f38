import { expect, test } from 'vitest';
import { parseArguments } from '../../src/local/doctor/arguments.ts';
import { hostsToCheck } from '../../src/local/doctor/hosts.ts';

const deployment = (...hosts: readonly string[][]) => ({
  registries: hosts.map((served, i) => ({ name: i === 0 ? 'central' : `node${i}`, hosts: served, store: 's' })),
  stores: [],
  secrets: [],
  console: [],
});

const found = (args: readonly string[], known?: ReturnType<typeof deployment>) =>
  hostsToCheck(parseArguments(args, {}), known).map(({ url, registry }) => [url.href, registry]);

test('without an administrator, the hosts are those that are named', () => {
  expect(found(['https://index.example.com', '--hosts', 'index.fra.example.com,index.example.com'])).toEqual([
    ['https://index.example.com/', undefined],
    ['https://index.fra.example.com/', undefined],
  ]);
});

test('the hosts of a deployment are found, each once, and the one that was named is first', () => {
  const known = deployment(['index.example.com', 'old.example.com'], ['index.fra.example.com']);
  expect(found(['https://index.fra.example.com'], known)).toEqual([
    ['https://index.fra.example.com/', 'node1'],
    ['https://index.example.com/', 'central'],
    ['https://old.example.com/', 'central'],
  ]);
});

test('in a local run, a registry is found at its port', () => {
  const known = deployment(['index.localhost', ':8787'], ['index.node1.localhost', ':8788']);
  expect(found(['http://127.0.0.1:8787'], known)).toEqual([
    ['http://127.0.0.1:8787/', 'central'],
    ['http://127.0.0.1:8788/', 'node1'],
  ]);
});

test('a name without a port is served at the port of the URL', () => {
  const known = deployment(['index.localhost'], ['index.node1.localhost:9000']);
  expect(found(['http://index.localhost:8787'], known)).toEqual([
    ['http://index.localhost:8787/', 'central'],
    ['http://index.node1.localhost:9000/', 'node1'],
  ]);
});

test('no password goes over plain http to a host elsewhere, even if the deployment names it', () => {
  expect(found(['http://localhost:8787'], deployment(['index.example.com'], ['index.fra.example.com']))).toEqual([
    ['http://localhost:8787/', undefined],
  ]);
});
