import { expect, test } from 'vitest';
import { parseArguments } from '../../src/local/doctor/arguments.ts';
import { Client } from '../../src/local/doctor/client.ts';
import { checkSecrets } from '../../src/local/doctor/deployment.ts';

/** Returns what the check finds in a deployment that has these secrets. */
function found(url: string, ...secrets: readonly string[]) {
  return Array.fromAsync(
    checkSecrets({
      options: parseArguments([url], {}),
      client: new Client(new AbortController().signal),
      deployment: { registries: [], stores: [], console: [], secrets: [...secrets] },
      hosts: [],
      unreachable: new Set(),
      scratch: undefined,
      images: new Map(),
    }),
  );
}

test('a bootstrap secret that is still set is a warning', async () => {
  expect(await found('https://index.example.com', 'SIGNING_KEY', 'BOOTSTRAP_SECRET')).toEqual([
    {
      outcome: 'warning',
      seen: 'SIGNING_KEY, BOOTSTRAP_SECRET are set',
      todo: expect.stringContaining('wrangler secret delete BOOTSTRAP_SECRET') as unknown,
    },
  ]);
});

test.each([
  ['https://index.example.com', ['SIGNING_KEY'], 'SIGNING_KEY is set'],
  ['http://localhost:8787', ['SIGNING_KEY', 'BOOTSTRAP_SECRET'], 'SIGNING_KEY, BOOTSTRAP_SECRET are set'],
])('%s with %o is ok', async (url, secrets, seen) => {
  expect(await found(url, ...secrets)).toEqual([{ outcome: 'ok', seen, todo: null }]);
});
