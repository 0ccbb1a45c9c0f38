/** Pulls from a mirror, compared with pulls of Berth's own images, and with pulls from its upstream. */
import { setTimeout as sleep } from 'node:timers/promises';
import { randomBytes } from 'node:crypto';
import { MemoryUpstream } from '../../support/local/upstream.ts';
import { basic, type Client } from '../client.ts';
import { call } from '../http.ts';
import { rate, timed } from '../measure.ts';
import { compare, type Row } from '../row.ts';
import type { Berth, Surroundings } from '../surroundings.ts';
import { INDEX_HEADERS } from './reads.ts';

const CONNECTIONS = 16;
const REQUESTS = 2000;
/** Tags that are pulled one after another for each figure. */
const TAGS = 20;
const AWAY_MILLISECONDS = 200;
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** Makes an organization of its own a mirror of an upstream that this process serves. */
async function withMirror<Result>(
  surroundings: Surroundings,
  settings: object,
  use: (upstream: MemoryUpstream, mirrored: Client, berth: Berth) => Promise<Result>,
): Promise<Result> {
  const upstream = await MemoryUpstream.start();
  try {
    const berth = await surroundings.plain();
    const { port } = berth.central;
    const admin = basic('admin');
    const body = Buffer.from(JSON.stringify({ from: upstream.url, public: true, ...settings }));
    await call(200, {
      port,
      method: 'PUT',
      path: '/api/organizations/bob/mirror',
      headers: { ...admin, 'Content-Type': 'application/json' },
      body,
    });
    return await use(upstream, berth.clients('bob/app').central, berth);
  } finally {
    await upstream.stop();
  }
}

function index(upstream: MemoryUpstream, tag: string): void {
  const annotations = { tag, random: randomBytes(8).toString('hex') };
  upstream.document('app', INDEX, { manifests: [], annotations }, [tag]);
}

export const mirrors: readonly Row[] = [
  {
    name: `mirrors: manifest GET of a tag within its ttl, ${CONNECTIONS} connections, against a tag of Berth's own`,
    mustReach: '≥ 0.95 ×',
    boundBy: 'what the isolate remembers of the tag',
    run: (surroundings) =>
      withMirror(surroundings, {}, async (upstream, mirrored, { central }) => {
        index(upstream, 'latest');
        await central.logIn();
        await mirrored.logIn();
        const { body } = await mirrored.request(200, 'GET', 'manifests/latest', { keep: true });
        await central.request(201, 'PUT', 'manifests/latest', { headers: INDEX_HEADERS, body });
        const asked = upstream.requests.length;
        const requests = surroundings.tiny ? 50 : REQUESTS;
        const rateOf = async (client: Client): Promise<number> => {
          await client.logIn();
          return rate(CONNECTIONS, requests, () => client.request(200, 'GET', 'manifests/latest'));
        };
        const compared = await compare({
          limit: 0.95,
          unit: 'requests/s',
          ours: () => rateOf(mirrored),
          theirs: () => rateOf(central),
        });
        const more = upstream.requests.length - asked;
        return {
          ...compared,
          reached: compared.reached && more === 0,
          details: `${compared.details}; ${more} requests to the upstream`,
        };
      }),
  },
  {
    name: `mirrors: manifest GET of a tag past its ttl, the upstream ${AWAY_MILLISECONDS} ms away, against within it`,
    mustReach: '≤ 1.1 ×',
    boundBy: 'a message to the Durable Object, after the answer',
    run: (surroundings) =>
      withMirror(surroundings, { ttl_seconds: 1 }, async (upstream, mirrored) => {
        const tags = Array.from({ length: surroundings.tiny ? 2 : TAGS }, (_, i) => `t${i}`);
        for (const tag of tags) index(upstream, tag);
        upstream.misbehaves = async () => {
          await sleep(AWAY_MILLISECONDS);
          return false;
        };
        const pulled = async (): Promise<number> => {
          const all = await timed(async () => {
            for (const tag of tags) await mirrored.request(200, 'GET', `manifests/${tag}`);
          });
          return all / tags.length;
        };
        await mirrored.logIn();
        await Promise.all(tags.map((tag) => mirrored.request(200, 'GET', `manifests/${tag}`)));
        return compare({
          limit: 1.1,
          rounds: surroundings.tiny ? 1 : 15,
          ours: async () => {
            await mirrored.logIn();
            await sleep(1100);
            return pulled();
          },
          theirs: async () => {
            await mirrored.logIn();
            // Has every tag asked for, so that none is past its ttl when they are pulled.
            await sleep(1100);
            await Promise.all(tags.map((tag) => mirrored.request(200, 'GET', `manifests/${tag}`)));
            await sleep(2 * AWAY_MILLISECONDS);
            return pulled();
          },
        });
      }),
  },
];
