/** The cost of a million pushes and pulls of an image, by component. */
import { basic, type Blob, type Client, imageOf, randomBlob } from '../client.ts';
import { call } from '../http.ts';
import { inDollars, priceOf } from '../prices.ts';
import { outcome, type Outcome, type Row } from '../row.ts';
import type { Surroundings } from '../surroundings.ts';

type Action = 'push' | 'push with a quota' | 'pull';

/** Dollars for a million. */
const LIMITS: Readonly<Record<Action, number>> = { push: 60, 'push with a quota': 72, pull: 3 };
const ROWS_WRITTEN: Readonly<Record<Action, number>> = { push: 38, 'push with a quota': 46, pull: 0 };

/** Logs in as docker does: with a challenge and a token. */
async function logIn({ port, repository }: Client): Promise<void> {
  await call(401, { port, method: 'GET', path: '/v2/' });
  const path = `/token?scope=repository:${repository}:pull,push`;
  await call(200, { port, method: 'GET', path, headers: basic('alice') });
}

/** Pushes an image as docker does, with a HEAD of each blob before its upload. The first blob is the config. */
export async function pushAsPriced(client: Client, blobs: readonly [Blob, ...Blob[]], tag: string): Promise<void> {
  await logIn(client);
  for (const { bytes, digest } of blobs) {
    await client.request(404, 'HEAD', `blobs/${digest}`);
    await client.pushByPatch(bytes, digest, true);
  }
  const [config, ...layers] = blobs;
  await client.pushManifest(imageOf(config, layers), tag);
}

/** Returns a config and two layers. */
export function imageBlobs(): [Blob, Blob, Blob] {
  return [randomBlob(2000), randomBlob(3_000_000), randomBlob(5_000_000)];
}

/**
 * Prices a push or a pull as docker makes it: a challenge, a token, and for a push a HEAD of each blob before its
 * upload. The repository holds an image already, and the tag is new.
 */
async function priced(surroundings: Surroundings, action: Action): Promise<Outcome> {
  const berth = await surroundings.counted();
  const { control } = berth;
  const { central } = berth.clients('alice/priced');
  await central.logIn();
  await pushAsPriced(central, imageBlobs(), `before the ${action}`.replaceAll(' ', '-'));
  const blobs = imageBlobs();
  const tag = action.replaceAll(' ', '-');
  const pull = async (): Promise<void> => {
    await logIn(central);
    await central.request(200, 'GET', `manifests/${tag}`);
    for (const { digest } of blobs) await central.request(200, 'GET', `blobs/${digest}`);
  };
  const quota = action === 'push with a quota' ? 1_000_000_000_000 : 'NULL';
  await control.sql('central', `UPDATE organizations SET quota_bytes = ${quota} WHERE name = 'alice'`);
  await control.settled();
  const pushed = await control.countsOf(() => pushAsPriced(central, blobs, tag));
  // Most pulls are not the first of an hour, and only the first is recorded.
  if (action === 'pull') await pull();
  const operations = action === 'pull' ? await control.countsOf(pull) : pushed;
  // If an organization ever had a quota, nodes are told of its usage. Rows that are measured later would pay for that.
  await control.sql(
    'central',
    "UPDATE organizations SET quota_bytes = NULL WHERE name = 'alice'",
    "UPDATE usage SET changed = 0 WHERE organization = 'alice'",
  );
  const { dollars, parts } = priceOf(operations);
  const rows = operations.rowsWritten;
  const counts = `${operations.roundTrips} D1 round trips, ${operations.statements} statements`;
  return outcome(
    `a million: ${inDollars(dollars)}`,
    [
      ...(dollars <= LIMITS[action] ? [] : [`it costs more than $${LIMITS[action]}`]),
      ...(rows === ROWS_WRITTEN[action] ? [] : [`it writes ${rows} rows, not ${ROWS_WRITTEN[action]}`]),
    ],
    `${parts}; ${counts}`,
    { operations, dollarsPerMillion: dollars },
  );
}

function row(action: Action, boundBy: string): Row {
  return {
    name: `prices: ${action} of an image with config and two layers at central`,
    mustReach: `≤ $${LIMITS[action]} a million, ${ROWS_WRITTEN[action]} rows written`,
    boundBy,
    run: (surroundings) => priced(surroundings, action),
  };
}

export const images: readonly Row[] = [
  row('push', 'D1 rows written, then an R2 write for each blob'),
  row('push with a quota', 'D1 rows written, then an R2 write for each blob'),
  row('pull', 'an R2 read for each blob, and the requests'),
];
