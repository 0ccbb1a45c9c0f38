/** Pulls of a layer and of a manifest, compared with one get and one query. */
import { layers } from '../content.ts';
import { MANIFEST, statementOfTag } from '../floor.ts';
import { call } from '../http.ts';
import { rate, timed } from '../measure.ts';
import { compare, type Row } from '../row.ts';

const LAYER_BYTES = 50 * 1024 * 1024;
/** Pulls for each figure: a single one is over before the machine has settled. */
const PULLS = 4;
const ROUNDS_OF_PULLS = 15;
const CONNECTIONS = 16;
const REQUESTS = 2000;

export const INDEX_HEADERS = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };

export const reads: readonly Row[] = [
  {
    name: 'reads: 50 MiB GET, against a raw get',
    mustReach: '≤ 1.1 ×',
    boundBy: 'one query before the read',
    run: async (surroundings) => {
      const [{ central }, floor] = [await surroundings.plain(), await surroundings.floor()];
      await central.logIn();
      // Both sides store the layer in the same way, with one put.
      const { bytes: body, digest } = layers(surroundings.tiny ? 1024 : LAYER_BYTES)();
      await central.pushByPut(body, digest);
      await call(201, { port: floor.port, method: 'PUT', path: '/put?key=pulled', body });
      const each = async (pull: () => Promise<unknown>): Promise<number> => {
        const whole = await timed(async () => {
          for (let i = 0; i < PULLS; i++) await pull();
        });
        return whole / PULLS;
      };
      return compare({
        limit: 1.1,
        rounds: surroundings.tiny ? 2 : ROUNDS_OF_PULLS,
        ours: async () => {
          await central.logIn();
          return each(() => central.request(200, 'GET', `blobs/${digest}`));
        },
        theirs: () => each(() => call(200, { port: floor.port, method: 'GET', path: '/get?key=pulled' })),
      });
    },
  },
  {
    name: `reads: manifest GET by tag, ${CONNECTIONS} connections, against the same query`,
    mustReach: '≥ 0.88 ×',
    boundBy: 'routing and the access decision',
    run: async (surroundings) => {
      const [{ central }, floor] = [await surroundings.plain(), await surroundings.floor()];
      await central.logIn();
      await central.request(201, 'PUT', 'manifests/latest', { headers: INDEX_HEADERS, body: MANIFEST });
      const path = `/query?statement=${await statementOfTag()}`;
      const requests = surroundings.tiny ? 50 : REQUESTS;
      return compare({
        limit: 0.88,
        unit: 'requests/s',
        ours: async () => {
          await central.logIn();
          return rate(CONNECTIONS, requests, () => central.request(200, 'GET', 'manifests/latest'));
        },
        theirs: () => rate(CONNECTIONS, requests, () => call(200, { port: floor.port, method: 'GET', path })),
      });
    },
  },
];
