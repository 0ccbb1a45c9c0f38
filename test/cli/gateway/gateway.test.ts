import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { expect, test, vi } from 'vitest';
import { digestOf } from './host.ts';
import { CHUNK, MEBIBYTE, pathOf, startGateway } from './started.ts';

const layer = (chunks: number): Buffer => randomBytes(chunks * CHUNK);
const range = (first: number, end: number, unit = CHUNK): string => `${first * unit}-${end * unit - 1}`;
/** Cuts a body into pieces, which are sent without a length. */
const inPieces = (body: Buffer): Buffer[] =>
  Array.from({ length: Math.ceil(body.length / 10_000) }, (_, i) => body.subarray(i * 10_000, (i + 1) * 10_000));

test.each([
  ['with a length', (body: Buffer) => body],
  ['without a length', inPieces],
])('a PATCH %s that is larger than the limit goes in equal chunks', async (_name, sent) => {
  const { host, port, ask, open } = await startGateway(CHUNK);
  const body = layer(2.5);
  const path = await open();
  const { status, headers } = await ask({ method: 'PATCH', path }, sent(body));
  expect(host.chunks).toEqual([
    `PATCH ${range(0, 1)} ${CHUNK}`,
    `PATCH ${range(1, 2)} ${CHUNK}`,
    `PATCH ${range(2, 2.5)} ${CHUNK / 2}`,
  ]);
  expect(host.received.every((it) => it.headers['transfer-encoding'] === undefined)).toBe(true);
  expect([status, headers.range, headers['docker-upload-uuid']]).toEqual([202, range(0, 2.5), path.split('/').at(-1)]);
  expect(headers.location).toBe(`http://127.0.0.1:${port}${path}`);
  const closed = await ask({ method: 'PUT', path: `${path}?digest=${digestOf(body)}` });
  expect(closed.status).toBe(201);
  expect(host.blobs.has(digestOf(body))).toBe(true);
});

test.each([
  ['with a length', (body: Buffer) => body],
  ['without a length', inPieces],
])('a PATCH %s that fits goes as it is, with its length', async (_name, sent) => {
  const { host, ask, open } = await startGateway(CHUNK);
  await ask({ method: 'PATCH', path: await open(), headers: { 'content-type': 'x/y' } }, sent(layer(1)));
  expect(host.chunks).toEqual([`PATCH ${CHUNK}`]);
  expect(host.received.at(-1)?.headers).toMatchObject({ 'content-length': String(CHUNK), 'content-type': 'x/y' });
});

test("a client's own chunks keep their offsets, and are cut in turn", async () => {
  const { host, ask, open } = await startGateway(CHUNK);
  const path = await open();
  await ask({ method: 'PATCH', path, headers: { 'content-range': range(0, 2) } }, layer(2));
  await ask({ method: 'PATCH', path, headers: { 'content-range': range(2, 3) } }, layer(1));
  expect(host.chunks.map((chunk) => chunk.split(' ')[1])).toEqual([range(0, 1), range(1, 2), range(2, 3)]);
  const wrong = await ask({ method: 'PATCH', path, headers: { 'content-range': range(5, 6) } }, layer(1));
  expect([wrong.status, wrong.headers.range]).toEqual([416, range(0, 3)]);
});

test('chunks without offsets are appended, also by a gateway that has not seen the upload begin', async () => {
  const { host, ask, open } = await startGateway(CHUNK);
  const path = await open();
  await ask({ method: 'PATCH', path }, layer(1));
  await ask({ method: 'PATCH', path }, layer(2));
  const second = await startGateway(CHUNK);
  second.host.first = async (incoming, outgoing) => {
    const { method = 'GET', url = '/', headers } = incoming;
    const answer = await fetch(new URL(url, host.url), {
      method,
      headers: headers['content-range'] === undefined ? {} : { 'content-range': headers['content-range'] },
      ...(method === 'PATCH' ? { body: incoming as unknown as ReadableStream, duplex: 'half' as const } : {}),
    });
    outgoing.writeHead(answer.status, Object.fromEntries(answer.headers)).end();
    return true;
  };
  await second.ask({ method: 'PATCH', path }, layer(2));
  const offsets = host.received.filter(({ bytes }) => bytes > 0).map(({ what }) => what.split(' ')[1]);
  expect(offsets).toEqual([undefined, range(1, 2), range(2, 3), range(3, 4), range(4, 5)]);
});

test.each([
  ['PUT that closes an upload', 'PUT'],
  ['POST that brings a whole blob', 'POST'],
])('a %s is cut', async (_name, method) => {
  const { host, ask, open } = await startGateway(CHUNK);
  const body = layer(1.5);
  const path = method === 'PUT' ? await open() : '/v2/acme/app/uploads/';
  const { status, headers } = await ask({ method, path: `${path}?digest=${digestOf(body)}` }, body);
  expect([status, headers.location]).toEqual([201, `/v2/acme/app/blobs/${digestOf(body)}`]);
  expect(host.chunks).toEqual([`PATCH ${range(0, 1)} ${CHUNK}`, `PATCH ${range(1, 1.5)} ${CHUNK / 2}`]);
  expect(host.blobs.has(digestOf(body))).toBe(true);
});

test('a PUT and a POST that fit go in one PUT', async () => {
  const { host, ask, open } = await startGateway(MEBIBYTE);
  const body = Buffer.alloc(MEBIBYTE, 'berth');
  const query = `?digest=${digestOf(body)}`;
  expect((await ask({ method: 'PUT', path: `${await open()}${query}` }, body)).status).toBe(201);
  expect((await ask({ method: 'PUT', path: `${await open()}${query}` }, inPieces(body))).status).toBe(201);
  expect((await ask({ method: 'POST', path: `/v2/acme/app/uploads/${query}` }, body)).status).toBe(201);
  expect(host.chunks).toEqual([`PUT ${MEBIBYTE}`, `PUT ${MEBIBYTE}`, `PUT ${MEBIBYTE}`]);
});

test('an empty chunk and an empty closing PUT without a length go without a body', async () => {
  const { host, ask, open } = await startGateway(CHUNK);
  const path = await open();
  const headers = { 'transfer-encoding': 'chunked' };
  expect((await ask({ method: 'PATCH', path, headers })).status).toBe(202);
  expect((await ask({ method: 'PUT', path: `${path}?digest=${digestOf(Buffer.of())}`, headers })).status).toBe(201);
  const sent = host.received.slice(1).map((it) => `${it.what} ${it.headers['content-length']}`);
  expect(sent).toEqual(['PATCH 0', 'PUT 0']);
});

test.each([
  ['with a length', (body: Buffer) => body],
  ['without a length', inPieces],
])('only the chunk that breaks is sent again (%s)', async (_name, sent) => {
  const { host, told, ask, open } = await startGateway(CHUNK);
  const body = layer(3);
  const path = await open();
  host.breaks.push(Number.POSITIVE_INFINITY, 20_000, 40_000);
  expect((await ask({ method: 'PATCH', path }, sent(body))).status).toBe(202);
  expect(host.received.map(({ what }) => what)).toEqual([
    'POST',
    `PATCH ${range(0, 1)}`,
    `PATCH ${range(1, 2)}`,
    'GET',
    `PATCH ${range(1, 2)}`,
    'GET',
    `PATCH ${range(1, 2)}`,
    `PATCH ${range(2, 3)}`,
  ]);
  expect(told).toHaveLength(2);
  expect((await ask({ method: 'PUT', path: `${path}?digest=${digestOf(body)}` })).status).toBe(201);
});

test.each([
  ['GET', '/v2/', 2],
  ['HEAD', '/v2/acme/app/blobs/sha256:a', 2],
  ['PUT', '/v2/acme/app/manifests/1', 2],
  ['POST', '/v2/acme/app/blobs/uploads/', 2],
  ['POST', '/token', 1],
  ['PATCH', '/v2/acme/app/blobs/uploads/1', 1],
  ['DELETE', '/v2/acme/app/manifests/1', 1],
])('a %s of %s whose answer is lost is sent %i times', async (method, path, times) => {
  const { host, ask } = await startGateway(CHUNK);
  host.first = (_incoming, outgoing) => {
    if (host.received.length === 1) outgoing.destroy();
    else outgoing.writeHead(202).end();
    return true;
  };
  expect((await ask({ method, path })).status).toBe(times === 2 ? 202 : 502);
  expect(host.received).toHaveLength(times);
});

test.each([
  ['succeeds if the blob is there', true, 201],
  ['stays refused if there is no blob', false, 404],
])(
  'a closing PUT without a body whose answer is lost, and whose session is gone, %s',
  async (_name, isKept, status) => {
    const { host, ask } = await startGateway(CHUNK);
    const body = layer(1);
    const digest = digestOf(body);
    const path = pathOf(await ask({ method: 'POST', path: '/v2/acme/app/blobs/uploads/' }));
    await ask({ method: 'PATCH', path }, body);
    let puts = 0;
    host.first = ({ method }, outgoing) => {
      if (method === 'PUT' && (puts += 1) === 1) outgoing.writeHead = () => outgoing.destroy();
      if (method === 'HEAD' && !isKept) host.blobs.clear();
      return false;
    };
    const closed = await ask({ method: 'PUT', path: `${path}?digest=${digest}` });
    expect(closed.status).toBe(status);
    if (isKept) expect(closed.headers['docker-content-digest']).toBe(digest);
    expect(host.received.slice(2).map(({ what }) => what)).toEqual(['PUT', 'PUT', 'HEAD']);
  },
);

test('the limit that a 413 shows is kept for the next layer', async () => {
  const { host, ask, open } = await startGateway(4 * MEBIBYTE);
  host.largest = 2 * MEBIBYTE;
  const body = Buffer.alloc(4 * MEBIBYTE);
  const path = await open();
  await ask({ method: 'PATCH', path }, body);
  expect((await ask({ method: 'PUT', path: `${path}?digest=${digestOf(body)}` })).status).toBe(201);
  host.received.length = 0;
  await ask({ method: 'PATCH', path: await open() }, Buffer.alloc(4 * MEBIBYTE));
  expect(host.chunks).toEqual([
    `PATCH ${range(0, 2, MEBIBYTE)} ${2 * MEBIBYTE}`,
    `PATCH ${range(2, 4, MEBIBYTE)} ${2 * MEBIBYTE}`,
  ]);
});

test('the limit that the host states is kept', async () => {
  const { host, ask, limit } = await startGateway(64 * MEBIBYTE);
  host.first = (_incoming, outgoing) => {
    outgoing.writeHead(202, { Location: '/x', 'OCI-Chunk-Max-Length': '20000000', 'Content-Length': '0' }).end();
    return true;
  };
  await ask({ method: 'POST', path: '/v2/acme/app/uploads/' });
  expect(limit.bytes).toBe(16 * MEBIBYTE);
});

test('a client that waits for 100 Continue gets it', async () => {
  const { host, ask, open } = await startGateway(CHUNK);
  const body = layer(0.5);
  const { status } = await ask({ method: 'PATCH', path: await open(), headers: { expect: '100-continue' } }, body);
  expect(status).toBe(202);
  expect(host.received.at(-1)?.headers.expect).toBeUndefined();
});

test('a refusal reaches a client that is still sending', async () => {
  const { host, ask, open } = await startGateway(CHUNK);
  const path = await open();
  host.first = (incoming, outgoing) => {
    incoming.resume();
    outgoing.writeHead(403, { 'Content-Type': 'application/json' }).end('{"errors":[]}');
    return true;
  };
  const answer = await ask({ method: 'PATCH', path }, inPieces(layer(100)));
  expect([answer.status, answer.body.toString()]).toEqual([403, '{"errors":[]}']);
});

test('a refusal does not wait for a client that sends slowly', async () => {
  const { host, port, open } = await startGateway(CHUNK);
  const path = await open();
  host.first = (_incoming, outgoing) => {
    outgoing.writeHead(403).end();
    return true;
  };
  const asked = request({ host: '127.0.0.1', port, method: 'PATCH', path, headers: { 'content-length': 2 * CHUNK } });
  asked.on('error', () => undefined).write('a');
  const [{ statusCode }] = (await once(asked, 'response')) as [{ statusCode: number }];
  expect(statusCode).toBe(403);
  asked.destroy();
});

test('a small body needs no room, whatever is under way', async () => {
  const { host, port, ask, open } = await startGateway(CHUNK);
  let uploads = 0;
  const sent: ReturnType<typeof request>[] = [];
  const full = new Promise<void>((done) => {
    host.first = ({ method, url = '' }, outgoing) => {
      if (method === 'PATCH' && ++uploads === 6) done();
      if (url.includes('/manifests/')) outgoing.writeHead(201).end();
      return method === 'PATCH' || url.includes('/manifests/');
    };
  });
  for (let i = 0; i < 7; i += 1) {
    const headers = { 'content-length': CHUNK };
    const upload = request({ host: '127.0.0.1', port, method: 'PATCH', path: await open(), headers, agent: false });
    upload.on('error', () => undefined).write('a');
    sent.push(upload);
  }
  await full;
  const { status } = await ask({ method: 'PUT', path: '/v2/acme/app/manifests/v1' }, Buffer.from('{}'));
  expect([status, uploads]).toEqual([201, 6]);
  for (const upload of sent) upload.destroy();
});

const manifestAt = (tag: string) => `/v2/acme/app/manifests/${tag}`;

test('small bodies wait for room once four of them fill it', async () => {
  const { host, port, ask } = await startGateway(CHUNK);
  const tags = ['a', 'b', 'c', 'd'];
  const bodies = tags.map((tag) => {
    const headers = { 'content-length': 16 * MEBIBYTE };
    const options = { host: '127.0.0.1', port, method: 'PUT', path: manifestAt(tag), headers, agent: false };
    return request(options).on('error', () => undefined);
  });
  // No socket holds so much, so the gateway has read most of the bytes, and has made room for the whole body.
  const most = Buffer.alloc(16 * MEBIBYTE - 1);
  await Promise.all(bodies.map((body) => new Promise((written) => body.write(most, written))));
  const fifth = ask({ method: 'PUT', path: manifestAt('e') }, Buffer.from('{}'));
  await ask({ path: '/v2/' });
  bodies[0]?.end('a');
  await fifth;
  const paths = host.received.map(({ path }) => path);
  expect(paths.filter((path) => path !== '/v2/')).toEqual([manifestAt('a'), manifestAt('e')]);
  for (const body of bodies) body.destroy();
});

test('a small body without a length keeps no more room than it fills', async () => {
  const { host, ask } = await startGateway(CHUNK);
  const waiting: (() => void)[] = [];
  host.first = async ({ url = '' }) => {
    if (url !== manifestAt('last')) await new Promise<void>((resolve) => void waiting.push(resolve));
    return false;
  };
  const others = ['a', 'b', 'c', 'd'].map((tag) => ask({ method: 'PUT', path: manifestAt(tag) }, [Buffer.from('{}')]));
  await vi.waitUntil(() => waiting.length === others.length);
  const { status } = await ask({ method: 'PUT', path: manifestAt('last') }, [Buffer.from('{}')]);
  expect(status).toBe(404);
  for (const answer of waiting) answer();
  await Promise.all(others);
});

test('a body that is not a layer has at most 16 MiB', async () => {
  const { ask } = await startGateway(CHUNK);
  const { status } = await ask({ method: 'PUT', path: '/v2/acme/app/manifests/v1' }, Buffer.alloc(16 * MEBIBYTE + 1));
  expect(status).toBe(413);
});

test('a client that goes away ends the request to the host, and leaves its room to others', async () => {
  const { host, port, ask, open } = await startGateway(CHUNK);
  for (let uploads = 0; uploads < 8; uploads += 1) {
    host.first = () => false;
    const path = await open();
    const gone = request({ host: '127.0.0.1', port, method: 'PATCH', path, agent: false });
    gone.on('error', () => undefined);
    const isThere = new Promise<void>((done) => {
      host.first = (incoming) => {
        incoming.once('close', done);
        incoming.once('data', () => gone.destroy());
        return true;
      };
    });
    gone.write(layer(1.5));
    await isThere;
  }
  host.first = () => false;
  expect((await ask({ method: 'PATCH', path: await open() }, layer(1))).status).toBe(202);
});

test('layers go side by side', async () => {
  const { host, ask, open } = await startGateway(CHUNK);
  const paths = [await open(), await open(), await open()];
  let waiting = 0;
  let release = (): void => undefined;
  const together = new Promise<void>((resolve) => (release = resolve));
  host.first = async ({ method }) => {
    if (method === 'PATCH' && ++waiting === paths.length) release();
    if (method === 'PATCH') await together;
    return false;
  };
  const answers = await Promise.all(paths.map((path) => ask({ method: 'PATCH', path }, inPieces(layer(2)))));
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202]);
});

test('the error for a host that is away says so', async () => {
  const { host, ask } = await startGateway(CHUNK);
  await host.close();
  const { status, body } = await ask({ method: 'GET', path: '/v2/' });
  expect(status).toBe(502);
  expect(JSON.parse(body.toString())).toMatchObject({ errors: [{ code: 'UNAVAILABLE' }] });
  expect(body.toString()).toContain('ECONNREFUSED');
  await host.listen();
});
