/** The exact calls that one action makes to R2 and D1, and the cost of a million of it. */
import { type Client, imageOf, randomBlob } from '../client.ts';
import { inDollars, type Operations, priceOf } from '../prices.ts';
import { outcome, type Outcome, type Row } from '../row.ts';
import type { Surroundings } from '../surroundings.ts';

type Expected = Pick<Operations, 'classA' | 'classB' | 'roundTrips' | 'rowsWritten'>;

const MIB = 1024 * 1024;

/** @param prepare creates what the action needs, and returns the action */
async function counted(
  surroundings: Surroundings,
  expected: Expected,
  prepare: (central: Client) => Promise<() => Promise<unknown>>,
): Promise<Outcome> {
  const { central, control } = await surroundings.counted();
  await central.logIn();
  const action = await prepare(central);
  await control.settled();
  const operations = await control.countsOf(action);
  const asked = await control.counts({ scope: 'request' });
  const names = Object.keys(expected) as (keyof Expected)[];
  const misses = names
    .filter((name) => asked[name] !== expected[name])
    .map((name) => `${name}: ${asked[name]}, not ${expected[name]}`);
  const { dollars, parts } = priceOf(operations);
  return outcome(
    textOf(asked),
    misses,
    `${operations.statements} statements, ${operations.rowsRead} rows read, ${operations.rowsWritten} written; ` +
      `a million: ${inDollars(dollars)} (${parts})`,
    { operations, ofTheRequests: asked, dollarsPerMillion: dollars },
  );
}

function textOf({ classA, classB, roundTrips, rowsWritten }: Expected): string {
  return `${classA} A, ${classB} B, ${roundTrips} D1, ${rowsWritten} written`;
}

function row(name: string, expected: Expected, prepare: (central: Client) => Promise<() => Promise<unknown>>): Row {
  return {
    name: `operations: ${name}`,
    mustReach: textOf(expected),
    boundBy: 'exact: R2 class A and B, round trips to D1, rows written',
    run: (surroundings) => counted(surroundings, expected, prepare),
  };
}

/** Pushes an image, and pulls it once, so that the pull of this hour is already recorded. */
async function pulledImage(central: Client): Promise<{ readonly tag: string; readonly blob: string }> {
  const config = randomBlob(300);
  await central.pushByPut(config.bytes, config.digest);
  await central.pushManifest(imageOf(config), 'operations');
  await central.request(200, 'GET', 'manifests/operations');
  return { tag: 'operations', blob: config.digest };
}

export const operations: readonly Row[] = [
  row(
    'layer of 5 MiB, POST + PATCH without length + PUT',
    { classA: 1, classB: 1, roundTrips: 2, rowsWritten: 8 },
    async (central) => {
      const { bytes, digest } = randomBlob(5 * MIB);
      return () => central.pushByPatch(bytes, digest, true);
    },
  ),
  row(
    'layer of 20 MiB, four parts, POST + PATCH without length + PUT',
    { classA: 4 + 2, classB: 1, roundTrips: 2, rowsWritten: 8 },
    async (central) => {
      const { bytes, digest } = randomBlob(20 * MIB);
      return () => central.pushByPatch(bytes, digest, true);
    },
  ),
  row(
    'layer of 20 MiB, POST + PATCH with length + PUT',
    { classA: 1, classB: 1, roundTrips: 2, rowsWritten: 8 },
    async (central) => {
      const { bytes, digest } = randomBlob(20 * MIB);
      return () => central.pushByPatch(bytes, digest, false);
    },
  ),
  row('layer of 20 MiB, POST + PUT', { classA: 1, classB: 1, roundTrips: 1, rowsWritten: 6 }, async (central) => {
    const { bytes, digest } = randomBlob(20 * MIB);
    return () => central.pushByPut(bytes, digest);
  }),
  row('PUT of a manifest', { classA: 0, classB: 0, roundTrips: 1, rowsWritten: 16 }, async (central) => {
    const [config, layer] = [randomBlob(300), randomBlob(1000)];
    for (const { bytes, digest } of [config, layer]) await central.pushByPut(bytes, digest);
    const image = imageOf(config, [layer]);
    return () => central.pushManifest(image, 'put');
  }),
  row('GET of a manifest by tag', { classA: 0, classB: 0, roundTrips: 1, rowsWritten: 0 }, async (central) => {
    const { tag } = await pulledImage(central);
    return () => central.request(200, 'GET', `manifests/${tag}`);
  }),
  row('HEAD of a manifest by tag', { classA: 0, classB: 0, roundTrips: 1, rowsWritten: 0 }, async (central) => {
    const { tag } = await pulledImage(central);
    return () => central.request(200, 'HEAD', `manifests/${tag}`);
  }),
  row('GET of a blob', { classA: 0, classB: 1, roundTrips: 1, rowsWritten: 0 }, async (central) => {
    const { blob } = await pulledImage(central);
    return () => central.request(200, 'GET', `blobs/${blob}`);
  }),
  row('HEAD of a blob', { classA: 0, classB: 0, roundTrips: 1, rowsWritten: 0 }, async (central) => {
    const { blob } = await pulledImage(central);
    return () => central.request(200, 'HEAD', `blobs/${blob}`);
  }),
];
