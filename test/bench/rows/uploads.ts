/** Pushes of a layer, compared with the best that R2 can do. */
import { layers } from '../content.ts';
import { call } from '../http.ts';
import { timed } from '../measure.ts';
import { compare, type Row } from '../row.ts';
import type { Surroundings } from '../surroundings.ts';

const LAYER_BYTES = 50 * 1024 * 1024;

async function compareByPatch(surroundings: Surroundings, chunked: boolean, limit: number) {
  const [{ central }, floor] = [await surroundings.plain(), await surroundings.floor()];
  const fresh = layers(surroundings.tiny ? 1024 : LAYER_BYTES);
  return compare({
    limit,
    ours: async () => {
      await central.logIn();
      const { bytes, digest } = fresh();
      return timed(() => central.pushByPatch(bytes, digest, chunked));
    },
    theirs: () => {
      const { bytes: body, hex } = fresh();
      return timed(() => call(201, { port: floor.port, method: 'PUT', path: `/put?key=${hex}`, body }));
    },
  });
}

export const uploads: readonly Row[] = [
  {
    name: 'uploads: 50 MiB layer, POST + PATCH without length + PUT, against a raw put',
    mustReach: '≤ 1.2 ×',
    boundBy: 'large reads into one buffer, hashed natively, seven parts',
    run: (surroundings) => compareByPatch(surroundings, true, 1.2),
  },
  {
    name: 'uploads: 50 MiB layer, POST + PATCH with length + PUT, against a raw put',
    mustReach: '≤ 1.15 ×',
    boundBy: 'large reads into one buffer, hashed natively, one put',
    run: (surroundings) => compareByPatch(surroundings, false, 1.15),
  },
  {
    name: 'uploads: 50 MiB layer, POST + PUT, against a checked put',
    mustReach: '≤ 1.1 ×',
    boundBy: 'R2, which checks: the Worker touches no byte',
    run: async (surroundings) => {
      const [{ central }, floor] = [await surroundings.plain(), await surroundings.floor()];
      const fresh = layers(surroundings.tiny ? 1024 : LAYER_BYTES);
      return compare({
        limit: 1.1,
        ours: async () => {
          await central.logIn();
          const { bytes, digest } = fresh();
          return timed(() => central.pushByPut(bytes, digest));
        },
        theirs: () => {
          const { bytes: body, hex } = fresh();
          const path = `/put-checked?key=${hex}&sha256=${hex}`;
          return timed(() => call(201, { port: floor.port, method: 'PUT', path, body }));
        },
      });
    },
  },
];
