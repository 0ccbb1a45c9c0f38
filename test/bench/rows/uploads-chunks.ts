/** Layers in chunks and layers far from R2, compared with the best that R2 can do with the same parts. */
import type { Client } from '../client.ts';
import { type Content, largeContent } from '../content.ts';
import { call } from '../http.ts';
import { timed } from '../measure.ts';
import { compare, outcome, type Row } from '../row.ts';
import type { Surroundings } from '../surroundings.ts';

const MIB = 1024 * 1024;
/** Added to every call of R2, in milliseconds. */
const DISTANCE = 50;

/** Cuts content into chunks of whole pieces of 1 MiB. */
function* chunksOf(content: Content, bytes: number): Iterable<Buffer> {
  let pieces: Buffer[] = [];
  for (const piece of content.pieces()) {
    pieces.push(piece);
    if (pieces.length * MIB < bytes) continue;
    yield Buffer.concat(pieces);
    pieces = [];
  }
  if (pieces.length > 0) yield Buffer.concat(pieces);
}

/** Sends the chunks of a layer, and returns the path that closes it. */
async function sendChunks(central: Client, content: Content, bytes: number): Promise<string> {
  let { location = '' } = (await central.request(202, 'POST', 'blobs/uploads/')).headers;
  let start = 0;
  for (const body of chunksOf(content, bytes)) {
    const headers = { 'Content-Range': `${start}-${start + body.byteLength - 1}` };
    ({ location = '' } = (await central.request(202, 'PATCH', location, { body, headers })).headers);
    start += body.byteLength;
  }
  return `${location}?digest=${content.digest}`;
}

/** Does the same with a raw multipart upload. @param hash whether the floor hashes the bytes with Berth's code */
async function sendParts(port: number, content: Content, bytes: number, hash: boolean): Promise<void> {
  const key = content.digest.slice(-32);
  const started = await call(200, { port, method: 'POST', path: `/multipart?key=${key}`, keep: true });
  const of = `key=${key}&upload=${encodeURIComponent(started.body.toString())}`;
  let number = 1;
  for (const body of chunksOf(content, bytes)) {
    await call(201, { port, method: 'PUT', path: `/part?${of}&number=${number++}&hash=${hash ? 1 : 0}`, body });
  }
  await call(201, { port, method: 'POST', path: `/complete?${of}` });
}

function compareChunks(chunk: number, hash: boolean, limit: number) {
  return async (surroundings: Surroundings) => {
    const [{ central }, floor] = [await surroundings.plain(), await surroundings.floor()];
    const bytes = surroundings.tiny ? 2 * chunk : 1024 * MIB;
    return compare({
      limit,
      rounds: 3,
      ours: async () => {
        await central.logIn();
        const content = largeContent(bytes);
        return timed(async () => central.request(201, 'PUT', await sendChunks(central, content, chunk)));
      },
      theirs: () => {
        const content = largeContent(bytes);
        return timed(() => sendParts(floor.port, content, chunk, hash));
      },
    });
  };
}

export const uploadsInChunks: readonly Row[] = [
  ...[8 * MIB, 64 * MIB].flatMap((chunk): Row[] =>
    [true, false].map((hash) => ({
      name:
        `uploads: 1 GiB in chunks of ${chunk / MIB} MiB, against a raw multipart upload ` +
        (hash ? 'that hashes with the same code' : 'that hashes nothing'),
      mustReach: hash ? '≤ 1.15 ×' : '≤ 1.4 ×',
      boundBy: 'SHA-256 in JavaScript, while R2 takes the bytes',
      run: compareChunks(chunk, hash, hash ? 1.15 : 1.4),
    })),
  ),
  {
    name: 'uploads: operations of a layer in 16 chunks of 8 MiB',
    mustReach: 'class A: 16 parts + 2; class B: 1',
    boundBy: 'one part for each chunk; the question whether the object is there',
    run: async (surroundings) => {
      const { central, control } = await surroundings.counted();
      await central.logIn();
      const content = largeContent(16 * 8 * MIB);
      const counts = await control.countsOf(async () =>
        central.request(201, 'PUT', await sendChunks(central, content, 8 * MIB)),
      );
      const { classA, classB, roundTrips, rowsWritten } = counts;
      return outcome(
        `class A ${classA}, class B ${classB}`,
        classA === 16 + 2 && classB === 1 ? [] : ['other operations were made'],
        `${roundTrips} round trips to D1, ${rowsWritten} rows written`,
        { ...counts },
      );
    },
  },
  {
    name: 'uploads: the PUT that closes 1 GiB in chunks, against that of 8 MiB',
    mustReach: '≤ 1.5 ×, no R2 read',
    boundBy: 'two transactions, and completing the parts',
    run: async (surroundings) => {
      const { central } = await surroundings.plain();
      const closing = (bytes: number) => async () => {
        await central.logIn();
        const path = await sendChunks(central, largeContent(bytes), 8 * MIB);
        return timed(() => central.request(201, 'PUT', path));
      };
      const large = closing(surroundings.tiny ? 32 * MIB : 1024 * MIB);
      return compare({ limit: 1.5, rounds: 3, ours: large, theirs: closing(8 * MIB) });
    },
  },
  {
    name: `uploads: 200 MiB, PATCH without length, R2 ${DISTANCE} ms away, against three parts in flight`,
    mustReach: '≤ 1.2 ×',
    boundBy: 'parts of 5 MiB, three at once',
    run: async (surroundings) => {
      const [{ central, control }, floor] = [await surroundings.counted(), await surroundings.floor()];
      const bytes = (surroundings.tiny ? 16 : 200) * MIB;
      await control.link('central', DISTANCE);
      try {
        return await compare({
          limit: 1.2,
          rounds: 3,
          ours: async () => {
            await central.logIn();
            const content = largeContent(bytes);
            return timed(() => central.pushByPatch(content, content.digest, true));
          },
          theirs: () => {
            const content = largeContent(bytes);
            const path = `/put-parts-at-once?key=${content.digest.slice(-32)}&delay=${DISTANCE}`;
            return timed(() => call(201, { port: floor.port, method: 'PUT', path, body: content, chunked: true }));
          },
        });
      } finally {
        await control.link('central', 0);
      }
    },
  },
];
