/** A client stays on the gateway: addresses, logins, and the ports where the gateway listens. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { listenOnLoopback } from '../../../cli/src/gateway/listen.ts';
import type { Host } from './host.ts';
import { askOn, CHUNK, startGateway } from './started.ts';

/** Makes the host answer every request in this way. */
function answerAll(host: Host, status: number, headers: Record<string, string>, body = ''): void {
  host.first = (_incoming, outgoing) => {
    outgoing.writeHead(status, headers).end(body);
    return true;
  };
}

test('addresses on the host become addresses on the gateway, and others stay', async () => {
  const { host, port, ask } = await startGateway(CHUNK);
  const own = { headers: { host: `localhost:${port}` }, path: '/v2/' };
  const bearer = (realm: string): string => `Bearer realm="${realm}",service="index.example.com",scope="a:b:c"`;
  answerAll(host, 401, {
    'WWW-Authenticate': bearer(`${host.url.origin.replace('http', 'https')}/token?x=y`),
    Link: `<${host.url.origin}/v2/_catalog?last=a>; rel="next"`,
    Location: `${host.url.origin}0/elsewhere`,
  });
  const { headers } = await ask(own);
  expect(headers).toMatchObject({
    'www-authenticate': bearer(`http://localhost:${port}/token?x=y`),
    link: `<http://localhost:${port}/v2/_catalog?last=a>; rel="next"`,
    location: `${host.url.origin}0/elsewhere`,
  });
  answerAll(host, 401, { 'WWW-Authenticate': bearer('https://auth.example.com/token') });
  expect((await ask(own)).headers['www-authenticate']).toBe(bearer('https://auth.example.com/token'));
});

test('a redirect of a pull to storage elsewhere is passed on', async () => {
  const { host, ask } = await startGateway(CHUNK);
  answerAll(host, 307, { Location: 'https://storage.example.com/blob?signature=a%2Bb' });
  const { status, headers } = await ask({ path: '/v2/acme/app/blobs/sha256:a' });
  expect([status, headers.location]).toEqual([307, 'https://storage.example.com/blob?signature=a%2Bb']);
});

test('a pull streams through, whole and in ranges', async () => {
  const { host, ask } = await startGateway(CHUNK);
  const blob = Buffer.alloc(3 * CHUNK, 'berth');
  host.blobs.set('sha256:a', blob);
  const path = '/v2/acme/app/blobs/sha256:a';
  const whole = await ask({ path });
  expect([whole.status, whole.headers['content-length'], whole.body.equals(blob)]).toEqual([
    200,
    `${blob.length}`,
    true,
  ]);
  const part = await ask({ path, headers: { range: 'bytes=5-14' } });
  expect([part.status, part.headers['content-range'], part.body.toString()]).toEqual([
    206,
    `bytes 5-14/${blob.length}`,
    'berthberth',
  ]);
  const { headers, body } = await ask({ method: 'HEAD', path });
  expect([headers['content-length'], body.length]).toEqual([`${blob.length}`, 0]);
});

test('a pull that the client abandons ends at the host too', async () => {
  const { host, port } = await startGateway(CHUNK);
  const left = new Promise<void>((done) => {
    host.first = (incoming, outgoing) => {
      outgoing.writeHead(200, { 'Content-Length': 1024 ** 3 }).write(Buffer.alloc(CHUNK));
      incoming.socket.once('close', () => done());
      return true;
    };
  });
  const abort = new AbortController();
  const answer = await fetch(`http://127.0.0.1:${port}/v2/acme/app/blobs/sha256:a`, { signal: abort.signal });
  await answer.body?.getReader().read();
  abort.abort();
  await left;
});

test('a login goes to the host with the request that has it, and with no other', async () => {
  const { host, ask } = await startGateway(CHUNK);
  await ask({ path: '/v2/', headers: { authorization: 'Basic abc', 'user-agent': 'docker/1' } });
  await ask({ path: '/v2/' });
  const [withLogin, without] = host.received;
  expect(withLogin?.headers).toMatchObject({
    authorization: 'Basic abc',
    'user-agent': 'docker/1',
    host: host.url.host,
  });
  expect(without?.headers.authorization).toBeUndefined();
});

test('a token that expires in the middle of a layer is renewed with the login that it was issued for', async () => {
  const { host, ask, open } = await startGateway(CHUNK);
  const path = await open();
  let tokens = 0;
  host.first = ({ url, headers }, outgoing) => {
    if (url?.startsWith('/token') === true) {
      tokens += 1;
      // The first token is due for renewal as soon as it arrives.
      const body = JSON.stringify({ token: `token-${tokens}`, expires_in: tokens === 1 ? 0.001 : 300 });
      outgoing.writeHead(200, { 'Content-Type': 'application/json' }).end(body);
      return true;
    }
    if (headers.authorization !== undefined) return false;
    const realm = `Bearer realm="${host.url.origin}/token",service="x"`;
    outgoing.writeHead(401, { 'WWW-Authenticate': realm }).end();
    return true;
  };
  await ask({ path: '/v2/' });
  const token = await ask({
    path: '/token?service=x&scope=repository:acme/app:push',
    headers: { authorization: 'Basic abc', 'accept-encoding': 'gzip' },
  });
  expect(JSON.parse(token.body.toString())).toMatchObject({ token: 'token-1' });
  await new Promise((done) => setTimeout(done, 2));
  await ask({ method: 'PATCH', path, headers: { authorization: 'Bearer token-1' } }, Buffer.alloc(2 * CHUNK));
  const [first, second] = host.received.filter(({ path: asked }) => asked.startsWith('/token'));
  expect(second).toEqual(first);
  // With this header, an edge would compress the answer, which the gateway has to read.
  expect(first?.headers['accept-encoding']).toBeUndefined();
  const sent = host.received.filter(({ bytes }) => bytes > 0).map(({ headers }) => headers.authorization);
  expect(sent).toEqual(['Bearer token-2', 'Bearer token-2']);
});

test('a web page cannot use the gateway through a host name that the page controls', async () => {
  const { host, ask } = await startGateway(CHUNK);
  for (const name of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example']) {
    expect((await ask({ path: '/v2/', headers: { host: name } })).status).toBe(421);
  }
  expect(host.received).toEqual([]);
  for (const name of ['localhost:5000', '127.0.0.1', '[::1]:80', 'index.localhost', 'host.docker.internal:5000']) {
    expect((await ask({ path: '/v2/', headers: { host: name } })).status).toBe(404);
  }
});

test("a web page of another origin cannot use the gateway by the gateway's address", async () => {
  const { host, port, ask } = await startGateway(CHUNK);
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `http://localhost:${port + 1}` },
    { origin: `https://127.0.0.1:${port}` },
  ]) {
    expect(
      (await ask({ method: 'POST', path: '/v2/acme/app/uploads/', headers })).status,
      JSON.stringify(headers),
    ).toBe(403);
  }
  expect(host.received).toEqual([]);
  for (const headers of [
    { 'sec-fetch-site': 'none' },
    { 'sec-fetch-site': 'same-origin', origin: `http://127.0.0.1:${port}` },
  ]) {
    expect((await ask({ path: '/v2/', headers })).status, JSON.stringify(headers)).toBe(404);
  }
});

test('a request for another origin is refused', async () => {
  const { host, ask } = await startGateway(CHUNK);
  for (const path of ['//evil.example/v2/', 'http://evil.example/v2/']) {
    expect((await ask({ path })).status).toBe(400);
  }
  expect(host.received).toEqual([]);
});

test('the gateway listens on localhost over IPv4 and IPv6, and nowhere else', async () => {
  const { port, close } = await listenOnLoopback((_incoming, outgoing) => outgoing.end('here'));
  try {
    expect((await askOn(port, { host: '127.0.0.1' })).body.toString()).toBe('here');
    expect((await askOn(port, { host: '::1' })).body.toString()).toBe('here');
    await expect(askOn(port, { host: '127.0.0.2' })).rejects.toThrow('ECONNREFUSED');
  } finally {
    await close();
  }
});

test.each(['127.0.0.1', '::1'])(
  'a port that is taken on %s is refused with a message that says what to do',
  async (address) => {
    const other = createServer().listen(0, address);
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    await expect(listenOnLoopback(() => undefined, port)).rejects.toThrow(`port ${port} is in use: choose another`);
    other.close();
    await once(other, 'close');
  },
);
