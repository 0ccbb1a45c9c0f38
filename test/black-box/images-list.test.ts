/** `GET /v1/images/list` as older clients send it: a GET with a JSON body, which only a real connection can carry. */
import { request as send } from 'node:http';
import { text } from 'node:stream/consumers';
import { beforeAll, expect, test } from 'vitest';
import { imageOf, loggedIn, pushSteps } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();
const TOKEN = btoa('robot$alice.users.kraftcloud:alice-dev');

interface Listed {
  readonly digest: string;
  readonly tags: readonly string[];
}

let digests: readonly string[];

beforeAll(async () => {
  const hosts = [server.current, ...server.current.nodes];
  digests = await Promise.all(
    hosts.map(async ({ url }, i) => {
      const image = imageOf(1000 + i);
      for (const tag of ['latest', 'v1']) {
        for (const step of pushSteps(`alice/app${i}`, tag, image)) await step.run(loggedIn(url, 'alice'));
      }
      return image.digest;
    }),
  );
});

/** @param framing how the request states the body's length; undefined for no body */
async function list(
  port: number,
  body: string,
  framing?: 'length' | 'chunked',
): Promise<{ status: number | undefined; body: string }> {
  const headers: Record<string, string> = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' };
  if (framing === 'length') headers['Content-Length'] = String(Buffer.byteLength(body));
  if (framing === 'chunked') headers['Transfer-Encoding'] = 'chunked';
  return new Promise((done, fail) => {
    const asked = send({ host: '127.0.0.1', port, path: '/v1/images/list', method: 'GET', headers }, (response) => {
      text(response).then((answer) => done({ status: response.statusCode, body: answer }), fail);
    });
    asked.on('error', fail);
    asked.end(framing === undefined ? undefined : body);
  });
}

async function found(port: number, body: string, framing?: 'length' | 'chunked'): Promise<Listed[]> {
  const answer = await list(port, body, framing);
  expect([answer.status, answer.body]).toEqual([200, expect.any(String)]);
  return (JSON.parse(answer.body) as { data: { images: Listed[] } }).data.images;
}

test.each(['length', 'chunked'] as const)(
  'the body arrives with framing %s, on every kind of host',
  async (framing) => {
    for (const [i, { port }] of [server.current, ...server.current.nodes].entries()) {
      const name = `alice/app${i}`;
      const [digest, tag] = [{ digest: `${name}@${digests[i]}` }, { tag: `${name}:latest` }];
      for (const body of [[digest], [tag], digest, [tag, digest]]) {
        const images = await found(port, JSON.stringify(body), framing);
        expect(images.map((image) => [image.digest, image.tags.toSorted()])).toContainEqual([
          digest.digest,
          [`${name}:latest`, `${name}:v1`],
        ]);
      }
      expect(await found(port, JSON.stringify([{ tag: `${name}:none` }]), framing)).toEqual([]);
    }
  },
);

test('without a filter in the body, everything is listed', async () => {
  const { port } = server.current;
  const all = await found(port, '');
  expect(all.map(({ digest }) => digest)).toContain(`alice/app0@${digests[0]}`);
  for (const body of ['{}', '[]', 'null', '[{}]', '']) expect(await found(port, body, 'length')).toEqual(all);
});

test.each([
  'nonsense',
  '"x"',
  '[1]',
  '[{"tag":5}]',
  '[{"digest":"alice/app@sha256:00"}]',
  '{"tag":"../x:1"}',
  '[{"tag":"latest"},{"tag":"v1"}]',
])('an invalid body is 400: %s', async (body) => {
  const answer = await list(server.current.port, body, 'length');
  expect([answer.status, (JSON.parse(answer.body) as { status: string }).status]).toEqual([400, 'error']);
});

test('a body that is too large is 413, whether its length is stated or not', async () => {
  for (const framing of ['length', 'chunked'] as const) {
    const answer = await list(server.current.port, `[${' '.repeat(100_000)}]`, framing);
    expect(answer.status).toBe(413);
  }
});
