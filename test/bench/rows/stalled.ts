/**
 * Memory of the isolate while a thousand clients have stopped sending or reading, for each kind of request with a large
 * body or answer.
 */
import { basic, blobOf, type Client, type Document } from '../client.ts';
import { until } from '../measure.ts';
import { inMebibytes, watch } from '../memory.ts';
import { outcome, type Row } from '../row.ts';
import { stall, type Stalled } from '../stalled.ts';

const MIB = 1024 * 1024;
const LIMIT = 96 * MIB;
/** The isolate's memory at rest: the code, and what the simulators keep. */
const SETTLED = 16 * MIB;
/** Longer than a request waits for room, and shorter than the limit for a stalled body. */
const MILLISECONDS = 12_000;

const JSON_TYPE = { 'Content-Type': 'application/json' };
const CHUNKED = { 'Transfer-Encoding': 'chunked' };
const DIGEST = `sha256:${'0'.repeat(64)}`;

const ones = (bytes: number): Buffer => Buffer.alloc(bytes, '1');
const chunk = (bytes: number): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.toString(16)}\r\n`), ones(bytes), Buffer.from('\r\n')]);
const length = (bytes: number): Record<string, string> => ({ 'Content-Length': String(bytes) });

type Kind = readonly [name: string, request: (session: string) => Stalled];

const patch =
  (headers: Record<string, string>, sent: Buffer) =>
  (path: string): Stalled => ({ method: 'PATCH', path, headers, sent });

const KINDS: readonly Kind[] = [
  ['PATCH without length, nothing sent', patch(CHUNKED, Buffer.alloc(0))],
  ['PATCH without length, 1 byte', patch(CHUNKED, chunk(1))],
  ['PATCH without length, 100 KiB', patch(CHUNKED, chunk(100 * 1024))],
  ['PATCH without length, 600 KiB', patch(CHUNKED, chunk(600 * 1024))],
  ['PATCH with length, 1 byte', patch(length(MIB), ones(1))],
  ['PATCH with length, 100 KiB', patch(length(MIB), ones(100 * 1024))],
  [
    'PUT of a blob, 100 KiB',
    (path) => ({ method: 'PUT', path: `${path}?digest=${DIGEST}`, headers: length(MIB), sent: ones(100 * 1024) }),
  ],
  [
    'PUT of a manifest, a byte short of 4 MiB',
    () => ({
      method: 'PUT',
      path: '/v2/alice/bench/manifests/stalled',
      headers: length(4 * MIB),
      sent: ones(4 * MIB - 1),
    }),
  ],
  [
    'PUT of a manifest without length, 1 MiB',
    () => ({ method: 'PUT', path: '/v2/alice/bench/manifests/stalled', headers: CHUNKED, sent: chunk(MIB) }),
  ],
  [
    'POST of a form, a byte short of 64 KiB',
    () => ({ method: 'POST', path: '/token', headers: length(65_536), sent: ones(65_535) }),
  ],
  [
    'POST to the management API, a byte short of 64 KiB',
    () => ({
      method: 'POST',
      path: '/api/organizations',
      headers: { ...length(65_536), ...JSON_TYPE },
      sent: ones(65_535),
    }),
  ],
  [
    'PATCH that is refused, 1 byte',
    () => ({ method: 'PATCH', path: '/v2/bob/bench/blobs/uploads/x', headers: length(MIB), sent: ones(1) }),
  ],
  ...['manifests/large', `referrers/${DIGEST}`].map((path): Kind => [
    `GET of 4 MiB that is not read, ${path.slice(0, 9)}`,
    () => ({ method: 'GET', path: `/v2/alice/bench/${path}`, headers: {}, sent: Buffer.alloc(0), isUnread: true }),
  ]),
];

/** A manifest of almost 4 MiB, which is the only referrer of {@link DIGEST}. */
const LARGE = documentOf({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [],
  subject: { mediaType: 'application/vnd.oci.image.index.v1+json', digest: DIGEST, size: 2 },
  annotations: { large: '1'.repeat(4 * MIB - 1024) },
});

function documentOf(content: Readonly<Record<string, unknown>> & { readonly mediaType: string }): Document {
  const { bytes, digest } = blobOf(Buffer.from(JSON.stringify(content)));
  return { bytes, digest, mediaType: content.mediaType };
}

/** Returns the headers of an access token. Logging in with every request would count as guessing. */
async function tokenFor(client: Client, query: string): Promise<Record<string, string>> {
  const { body } = await client.request(200, 'GET', `/token?${query}`, { headers: basic('alice'), keep: true });
  return { Authorization: `Bearer ${(JSON.parse(body.toString()) as { token: string }).token}` };
}

/** Uses as many access tokens as there are clients, each with the most scopes that a token can have. */
async function useTokens(client: Client, count: number): Promise<void> {
  const names = Array.from({ length: 31 }, (_, i) => `scope=repository:alice/${'a'.repeat(80)}${i}:pull,push,delete`);
  for (let i = 0; i < count; i++) {
    const headers = await tokenFor(client, `${names.join('&')}&scope=repository:alice/${i}:pull`);
    await client.request(200, 'GET', '/v2/', { headers });
  }
}

export const stalled: readonly Row[] = [
  {
    name: 'memory: 1,000 stalled requests of each kind',
    mustReach: `isolate ≤ ${inMebibytes(LIMIT)}`,
    boundBy: 'the budget of 54 MiB for everything that is buffered, and what each request needs besides',
    run: async (surroundings) => {
      const count = surroundings.tiny ? 20 : 1000;
      const berth = await surroundings.startObserved();
      const { central } = berth;
      const peaks: Record<string, number> = {};
      const answers: Record<string, object> = {};
      try {
        await central.logIn();
        await central.pushManifest(LARGE, 'large');
        for (const [name, make] of KINDS) {
          // From here on, the isolate remembers the administrator's credential.
          await central.request(200, 'GET', '/api/organizations', { headers: basic('admin') });
          const alice = await tokenFor(central, 'scope=repository:alice/bench:pull,push');
          const { headers } = await central.request(202, 'POST', 'blobs/uploads/', { headers: alice });
          const request = make(headers.location ?? '');
          const login = request.path.startsWith('/api/') ? basic('admin') : alice;
          const asked = Array.from({ length: count }, () => ({
            ...request,
            headers: { ...login, ...request.headers },
          }));
          const { isolate } = await watch(berth, async () => {
            answers[name] = await stall(central.port, asked, surroundings.tiny ? 2000 : MILLISECONDS);
          });
          peaks[name] = isolate;
          // All memory that the clients held must be free again.
          await until("the isolate's memory is as before", async () => (await berth.inspector.memory()) < SETTLED, {
            seconds: 240,
            every: 500,
          });
        }
        const name = 'access tokens of 32 scopes';
        peaks[name] = (await watch(berth, () => useTokens(central, count))).isolate;
        const most = Math.max(...Object.values(peaks));
        return outcome(
          `isolate ${inMebibytes(most)}`,
          most <= LIMIT ? [] : ['the isolate has more'],
          Object.entries(peaks)
            .map(([kind, bytes]) => `${kind}: ${inMebibytes(bytes)} ${JSON.stringify(answers[kind] ?? {})}`)
            .join('; '),
          { peaks, answers },
        );
      } finally {
        await berth.stop();
      }
    },
  },
];
