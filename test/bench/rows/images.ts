/** The cost of a million pushes and pulls of an image, by component. */
import { basic, imageOf, randomBlob } from '../client.ts';
import { call } from '../http.ts';
import { inDollars, priceOf } from '../prices.ts';
import { outcome, type Outcome, type Row } from '../row.ts';
import type { Surroundings } from '../surroundings.ts';

type Action = 'push' | 'pull';

/**
 * Prices a push or a pull as docker makes it: a challenge, a token, and for a push a HEAD of each blob before its
 * upload.
 */
async function priced(surroundings: Surroundings, action: Action): Promise<Outcome> {
  const berth = await surroundings.counted();
  const { control } = berth;
  const { central } = berth.clients('alice/priced');
  await central.logIn();
  const blobs = [randomBlob(2000), randomBlob(3_000_000), randomBlob(5_000_000)];
  const [config, ...layers] = blobs;
  if (config === undefined) throw new Error('the image must have a config');
  const image = imageOf(config, layers);
  const logIn = async (): Promise<void> => {
    await call(401, { port: central.port, method: 'GET', path: '/v2/' });
    const path = '/token?scope=repository:alice/priced:pull,push';
    await call(200, { port: central.port, method: 'GET', path, headers: basic('alice') });
  };
  const push = async (): Promise<void> => {
    await logIn();
    for (const { bytes, digest } of blobs) {
      await central.request(404, 'HEAD', `blobs/${digest}`);
      await central.pushByPatch(bytes, digest, true);
    }
    await central.pushManifest(image, 'priced');
  };
  const pull = async (): Promise<void> => {
    await logIn();
    await central.request(200, 'GET', 'manifests/priced');
    for (const { digest } of blobs) await central.request(200, 'GET', `blobs/${digest}`);
  };
  await control.settled();
  const pushed = await control.countsOf(push);
  // Most pulls are not the first of an hour, and only the first is recorded.
  if (action === 'pull') await pull();
  const operations = action === 'push' ? pushed : await control.countsOf(pull);
  const { dollars, parts } = priceOf(operations);
  const counts = `${operations.roundTrips} D1 round trips, ${operations.statements} statements`;
  return outcome(`a million: ${inDollars(dollars)}`, [], `${parts}; ${counts}`, {
    operations,
    dollarsPerMillion: dollars,
  });
}

function row(action: Action, boundBy: string): Row {
  return {
    name: `prices: ${action} of an image with config and two layers at central`,
    mustReach: '',
    boundBy,
    run: (surroundings) => priced(surroundings, action),
  };
}

export const images: readonly Row[] = [
  row('push', 'D1 rows written, then an R2 write for each blob'),
  row('pull', 'an R2 read for each blob, and the requests'),
];
