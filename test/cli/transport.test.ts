import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { baseUrl, createTransport } from '../../cli/src/transport.ts';
import { createAuthority } from '../support/local/certificates.ts';

const servers: Server[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

const echo: RequestListener = (request, response) => {
  response.setHeader('x-seen', `${request.method} ${request.headers.host} ${request.headers['content-length']}`);
  request.pipe(response);
};

test.each([
  ['registry.example', {}, 'https://registry.example/'],
  ['registry.example', { plainHttp: true }, 'http://registry.example/'],
  ['localhost:8787', {}, 'http://localhost:8787/'],
  ['index.localhost:8787', {}, 'http://index.localhost:8787/'],
  ['127.0.0.1:8787', {}, 'http://127.0.0.1:8787/'],
  ['[::1]:8787', {}, 'http://[::1]:8787/'],
  ['localhost:8787', { insecure: true }, 'https://localhost:8787/'],
  ['127.example', {}, 'https://127.example/'],
])('%s with %o is reached at %s', (host, options, url) => {
  expect(baseUrl(host, options).href).toBe(url);
});

test('a name under localhost means this machine, whatever proxy there is', async () => {
  const port = await listen(createServer(echo));
  vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:9');
  const answer = await createTransport()(new URL(`http://index.localhost:${port}/`), { method: 'GET' });
  expect(answer.headers.get('x-seen')).toBe(`GET index.localhost:${port} undefined`);
});

test('other hosts are reached through the proxy that the environment names', async () => {
  const port = await listen(createServer(echo));
  vi.stubEnv('http_proxy', undefined);
  vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${port}`);
  vi.stubEnv('NO_PROXY', 'other.example');
  const connected: string[] = [];
  servers.at(-1)!.on('connect', (request, socket) => {
    connected.push(request.url ?? '');
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  const sent = createTransport()(new URL('http://registry.example/v2/'), { method: 'GET' });
  await sent.catch(() => undefined);
  expect(connected).toEqual(['registry.example:80']);
});

test('a stream is sent with its length', async () => {
  const port = await listen(createServer(echo));
  const answer = await createTransport()(new URL(`http://127.0.0.1:${port}/`), {
    method: 'PUT',
    body: { length: 5, stream: new Blob(['hello']).stream() },
  });
  expect(answer.headers.get('x-seen')).toBe(`PUT 127.0.0.1:${port} 5`);
  expect(await answer.text()).toBe('hello');
});

test('a certificate must be trusted, by --ca or by --insecure', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-ca-'));
  const authority = createAuthority();
  const leaf = authority.leaf(new Date(Date.now() + 3_600_000));
  const ca = join(folder, 'ca.pem');
  await writeFile(ca, authority.cert);
  const port = await listen(createTlsServer(leaf, echo));
  const url = new URL(`https://localhost:${port}/`);
  try {
    await expect(createTransport()(url, { method: 'GET' })).rejects.toThrow('trust its authority with --ca FILE');
    expect((await createTransport({ ca })(url, { method: 'GET' })).status).toBe(200);
    expect((await createTransport({ insecure: true })(url, { method: 'GET' })).status).toBe(200);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a registry that does not run is named, with what to do', async () => {
  const port = await listen(createServer(echo));
  await new Promise((done) => servers.pop()!.close(done));
  const sent = createTransport()(new URL(`http://127.0.0.1:${port}/`), { method: 'GET' });
  await expect(sent).rejects.toThrow(/^127\.0\.0\.1:\d+: .*: check that the registry runs, and its port$/);
});
