/** Compares the documents' tables of the clients with what `npm run e2e` runs. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { CANDIDATES } from '../e2e/candidates.ts';

/**
 * Candidates that add no client of another project: `unikraft` replays requests, `nodes` and `mirrors` run clients that
 * have a row already, and the others are Berth's own.
 */
const NO_CLIENTS = new Set(['unikraft', 'nodes', 'mirrors', 'berth', 'gateway']);

/** The file that pins the version of each client that is built from source. The other clients are the machine's. */
const PINNED_IN = {
  crane: 'clients/crane.ts',
  oras: 'clients/oras.ts',
  regctl: 'clients/regctl.ts',
  helm: 'helm.ts',
  cosign: 'cosign.ts',
  buildkit: 'buildkit.ts',
} as const;

const textOf = (path: string): Promise<string> => readFile(new URL(path, import.meta.url), 'utf8');

/** Returns the first two columns, name and version, of the table whose first column is headed `client`. */
async function versionsIn(document: string): Promise<Map<string, string>> {
  const rows = (await textOf(document)).split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const head = rows.findIndex(([, first]) => first === 'client');
  const length = rows.slice(head).findIndex((cells) => cells.length < 4);
  // The line below the head is a rule.
  return new Map(rows.slice(head + 2, head + length).map(([, name = '', version = '']) => [name, version]));
}

const CLIENTS = await versionsIn('../../docs/clients.md');

test('docs/clients.md names every client that is run, in the same order', () => {
  expect([...CLIENTS.keys()]).toEqual(CANDIDATES.map(({ name }) => name).filter((name) => !NO_CLIENTS.has(name)));
});

test('docs/conformance.md states the same versions', async () => {
  expect(await versionsIn('../../docs/conformance.md')).toEqual(CLIENTS);
});

test('clients that are built from source have the pinned version', async () => {
  const pinned = new Map<string, string | undefined>();
  for (const [name, file] of Object.entries(PINNED_IN)) {
    pinned.set(name, /^const VERSION = '([^']+)';$/m.exec(await textOf(`../e2e/${file}`))?.[1]);
  }
  const built = [...CLIENTS].filter(([, version]) => version.startsWith('v'));
  expect(new Map(built)).toEqual(pinned);
});
