/** A push to a node does not wait for central, and a pull from it asks both stores at once. */
import { type Client, imageOf, randomBlob } from '../client.ts';
import { MANIFEST, REPOSITORY, statementOfTag } from '../floor.ts';
import { call } from '../http.ts';
import { timed, until } from '../measure.ts';
import { NONE, type Operations } from '../prices.ts';
import { compare, outcome, type Row } from '../row.ts';
import type { CountedBerth } from '../surroundings.ts';
import { INDEX_HEADERS } from './reads.ts';

const MIB = 1024 * 1024;
export const FAR_MILLISECONDS = 100;
const ROUNDS = 15;
const REQUESTS = 200;

/** Pushes config, two layers and manifest. Returns the operations on central's store before the 201. */
async function pushImage(
  node: Client,
  { control }: CountedBerth,
  layerBytes: number,
): Promise<{ ms: number; atCentral: Operations }> {
  await node.logIn();
  const [config, ...layers] = [randomBlob(300), randomBlob(layerBytes), randomBlob(layerBytes)];
  const image = imageOf(config, layers);
  await control.quiet();
  await control.resetCounts();
  const blobs = await timed(async () => {
    for (const { bytes, digest } of [config, ...layers]) await node.pushByPatch(bytes, digest, true);
  });
  // Before the manifest, every call counts. After it, only those of requests, because the queue has begun to announce.
  const before = await control.counts({ store: 'central' });
  const manifest = await timed(() => node.pushManifest(image, 'pushed'));
  const by = await control.counts({ scope: 'request', store: 'central' });
  const atCentral = [before, by].reduce(
    (most, each) => (each.roundTrips + each.classA + each.classB > 0 ? each : most),
    NONE,
  );
  return { ms: blobs + manifest, atCentral };
}

export const nodesPush: readonly Row[] = [
  {
    name: `nodes: 12 MiB image pushed to a node, central ${FAR_MILLISECONDS} ms away against 0 ms`,
    mustReach: '≤ 1.05 ×, no call to central before the 201',
    boundBy: "the node's own store",
    run: async (surroundings) => {
      const berth = await surroundings.counted();
      const { control } = berth;
      const { node1 } = berth.clients('alice/pushed');
      const asked: Operations[] = [];
      const push = async (delay: number): Promise<number> => {
        await control.link('central', 0);
        await control.settled();
        await control.link('central', delay);
        const { ms, atCentral } = await pushImage(node1, berth, surroundings.tiny ? 10_000 : 6 * MIB);
        asked.push(atCentral);
        return ms;
      };
      const rounds = surroundings.tiny ? 2 : ROUNDS;
      const compared = await compare({
        limit: 1.05,
        rounds,
        ours: () => push(FAR_MILLISECONDS),
        theirs: () => push(0),
      });
      await control.link('central', 0);
      const calls = asked.reduce((total, { roundTrips, classA, classB }) => total + roundTrips + classA + classB, 0);
      return outcome(
        `${compared.measured}, ${calls} calls`,
        [...(compared.reached ? [] : ['more than 1.05 ×']), ...(calls === 0 ? [] : ['central was asked'])],
        compared.details,
        { ...compared.figures, callsToCentral: calls },
      );
    },
  },
  {
    name: 'nodes: manifest GET by tag at a node, against the same query to two databases at once',
    mustReach: '≤ 1.15 ×',
    boundBy: 'routing, the access decision and judging two answers',
    run: async (surroundings) => {
      const [berth, floor] = [await surroundings.plain(), await surroundings.floor()];
      const { node1, central } = berth.clients(`${REPOSITORY}-at-node`);
      await Promise.all([node1.logIn(), central.logIn()]);
      await node1.request(201, 'PUT', 'manifests/latest', { headers: INDEX_HEADERS, body: MANIFEST });
      await until('central knows the manifest', async () => (await central.status('GET', 'manifests/latest')) === 200);
      const path = `/query-two?statement=${await statementOfTag()}`;
      const repeat = async (work: () => Promise<unknown>): Promise<number> => {
        const requests = surroundings.tiny ? 10 : REQUESTS;
        return (
          (await timed(async () => {
            for (let i = 0; i < requests; i++) await work();
          })) / requests
        );
      };
      return compare({
        limit: 1.15,
        ours: async () => {
          await node1.logIn();
          return repeat(() => node1.request(200, 'GET', 'manifests/latest'));
        },
        theirs: () => repeat(() => call(200, { port: floor.port, method: 'GET', path })),
      });
    },
  },
];
