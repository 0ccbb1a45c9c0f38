/** Pulls from a mirror, compared with pulls of Berth's own images, and with pulls from its upstream. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryUpstream } from '../../support/local/upstream.ts';
import { basic, type Client } from '../client.ts';
import { largeContent } from '../content.ts';
import { withProxy } from '../distribution-proxy.ts';
import { call } from '../http.ts';
import { median, rate, timed } from '../measure.ts';
import { inMebibytes, watch } from '../memory.ts';
import { startPacedUpstream } from '../paced-upstream.ts';
import { compare, outcome, type Row, ROUNDS } from '../row.ts';
import type { Berth, Surroundings } from '../surroundings.ts';
import { INDEX_HEADERS } from './reads.ts';

const CONNECTIONS = 16;
const REQUESTS = 2000;
/** Tags that are pulled one after another for each figure. */
const TAGS = 8;
const TTL_SECONDS = 5;
const AWAY_MILLISECONDS = 200;
const MIB = 1024 * 1024;
/** Bytes a second. */
const UPSTREAM_RATE = 30e6;
const ROUND_TRIP_MILLISECONDS = 50;
/** First pulls, each of another blob. */
const PULLS = 3;
const INDEX = 'application/vnd.oci.image.index.v1+json';

/**
 * Makes an organization a mirror of an upstream that this process serves, and returns a client of one of its
 * repositories.
 */
async function becomeMirror(berth: Berth, from: string, settings: object): Promise<Client> {
  const headers = { ...basic('admin'), 'Content-Type': 'application/json' };
  const body = Buffer.from(JSON.stringify({ from, public: true, ...settings }));
  const path = '/api/organizations/bob/mirror';
  await call(200, { port: berth.central.port, method: 'PUT', path, headers, body });
  return berth.clients('bob/app').central;
}

async function withMirror<Result>(
  surroundings: Surroundings,
  settings: object,
  use: (upstream: MemoryUpstream, mirrored: Client, berth: Berth) => Promise<Result>,
): Promise<Result> {
  const upstream = await MemoryUpstream.start();
  try {
    const berth = await surroundings.plain();
    return await use(upstream, await becomeMirror(berth, upstream.url, settings), berth);
  } finally {
    await upstream.stop();
  }
}

interface Pulled {
  /** Milliseconds. */
  readonly firstByte: number;
  readonly all: number;
}

/** Pulls a blob from a port, as anybody. */
async function pullBlob(port: number, path: string): Promise<Pulled> {
  const started = performance.now();
  const [response] = (await once(get({ host: '127.0.0.1', port, path }), 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
  let firstByte: number | undefined;
  for await (const _piece of response) firstByte ??= performance.now() - started;
  return { firstByte: firstByte ?? Number.NaN, all: performance.now() - started };
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
        const ofProxy = await withProxy(upstream.url, (port) =>
          rate(CONNECTIONS, requests, () => call(200, { port, method: 'GET', path: '/v2/app/manifests/latest' })),
        );
        const moreOfProxy = upstream.requests.length - asked - more;
        return {
          ...compared,
          reached: compared.reached && more === 0,
          details:
            `${compared.details}; ${more} requests to the upstream; ` +
            `distribution: ${ofProxy.toFixed(0)} requests/s, ${moreOfProxy} to the upstream`,
          figures: { ...compared.figures, ofProxy, moreOfProxy },
        };
      }),
  },
  {
    name: `mirrors: manifest GET of a tag past its ttl, the upstream ${AWAY_MILLISECONDS} ms away, against within it`,
    mustReach: '≤ 1.1 ×',
    boundBy: 'a message to the Durable Object, after the answer',
    run: (surroundings) =>
      withMirror(surroundings, { ttl_seconds: TTL_SECONDS }, async (upstream, mirrored) => {
        const tags = Array.from({ length: surroundings.tiny ? 2 : TAGS }, (_, i) => `t${i}`);
        for (const tag of tags) index(upstream, tag);
        upstream.misbehaves = async () => {
          await sleep(AWAY_MILLISECONDS);
          return false;
        };
        // The simulators share one thread, so each pull waits for the end of the question behind the last one.
        const pulled = async (): Promise<number> => {
          const times: number[] = [];
          for (const tag of tags) {
            times.push(await timed(() => mirrored.request(200, 'GET', `manifests/${tag}`)));
            await sleep(1.5 * AWAY_MILLISECONDS);
          }
          return median(times);
        };
        const pastTtl = (): Promise<unknown> => sleep(TTL_SECONDS * 1000 + 100);
        await mirrored.logIn();
        await Promise.all(tags.map((tag) => mirrored.request(200, 'GET', `manifests/${tag}`)));
        const compared = await compare({
          limit: 1.1,
          rounds: surroundings.tiny ? 1 : ROUNDS,
          ours: async () => {
            await mirrored.logIn();
            await pastTtl();
            return pulled();
          },
          theirs: async () => {
            await mirrored.logIn();
            // Has every tag asked for, so that none is past its ttl when they are pulled.
            await pastTtl();
            await Promise.all(tags.map((tag) => mirrored.request(200, 'GET', `manifests/${tag}`)));
            await sleep(2 * AWAY_MILLISECONDS);
            return pulled();
          },
        });
        const ofProxy = await withProxy(upstream.url, async (port) => {
          const pull = (): Promise<unknown> => call(200, { port, method: 'GET', path: `/v2/app/manifests/${tags[0]}` });
          await pull();
          return timed(pull);
        });
        return {
          ...compared,
          details: `${compared.details}; distribution: ${ofProxy.toFixed(0)} ms`,
          figures: { ...compared.figures, ofProxy },
        };
      }),
  },
  {
    name: 'mirrors: first pull of 500 MiB from an upstream that gives 30 MB/s, against a direct pull',
    mustReach: `≤ 1.3 ×, first byte within a round trip (${ROUND_TRIP_MILLISECONDS} ms), isolate ≤ 32 MiB`,
    boundBy: 'the upstream; each byte passes the isolate once for the store and once for the client',
    run: async (surroundings) => {
      const bytes = surroundings.tiny ? 12 * MIB : 500 * MIB;
      const upstream = await startPacedUpstream(largeContent(bytes), UPSTREAM_RATE, ROUND_TRIP_MILLISECONDS);
      const berth = await surroundings.startObserved();
      try {
        await becomeMirror(berth, `http://localhost:${upstream.port}`, {});
        const [ours, theirs]: [Pulled[], Pulled[]] = [[], []];
        for (let round = 0; round < (surroundings.tiny ? 1 : PULLS); round++) {
          const path = `blobs/${upstream.content.digest}`;
          theirs.push(await pullBlob(upstream.port, `/v2/app/${path}`));
          ours.push(await pullBlob(berth.central.port, `/v2/bob/app/${path}`));
          upstream.content = largeContent(bytes);
        }
        // Apart from the others: collecting garbage for each sample takes as much time as the pull.
        const { isolate } = await watch(berth, () =>
          pullBlob(berth.central.port, `/v2/bob/app/blobs/${upstream.content.digest}`),
        );
        const of = (side: readonly Pulled[], what: keyof Pulled): number => median(side.map((each) => each[what]));
        const ratio = of(ours, 'all') / of(theirs, 'all');
        const later = of(ours, 'firstByte') - of(theirs, 'firstByte');
        const from = `http://localhost:${upstream.port}`;
        const proxy = await withProxy(from, (port) => pullBlob(port, `/v2/app/blobs/${upstream.content.digest}`));
        return outcome(
          `${ratio.toFixed(2)} ×, first byte + ${later.toFixed(0)} ms, isolate ${inMebibytes(isolate)}`,
          [
            ...(ratio <= 1.3 ? [] : ['it takes longer']),
            ...(later <= ROUND_TRIP_MILLISECONDS ? [] : ['the first byte comes later']),
            ...(isolate <= 32 * MIB ? [] : ['the isolate has more']),
          ],
          `${of(ours, 'all').toFixed(0)} against ${of(theirs, 'all').toFixed(0)} ms; ` +
            `distribution: ${proxy.all.toFixed(0)} ms, first byte after ${proxy.firstByte.toFixed(0)} ms`,
          { ours, theirs, isolate, proxy },
        );
      } finally {
        await berth.stop();
        await upstream.stop();
      }
    },
  },
];
