/** The namespace that answers, by port and by name. */
import { get, type IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { comparePull, imageOf, loggedIn, pushSteps, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();

test.each([
  ['central', 'index.localhost', 0],
  ['node:node1', 'index.node1.localhost', 1],
  ['node:node2', 'index.node2.localhost', 2],
])('%s is served at its port under any name, and at its own name on any port', async (namespace, alias, offset) => {
  const ports = [0, 1, 2].map((i) => server.current.port + i);
  const own = server.current.port + offset;
  const addresses = [
    ...['localhost', '127.0.0.1', 'any.localhost'].map((name) => ({ host: `${name}:${own}`, port: own })),
    ...ports.flatMap((port) => [`${alias}:${port}`, `${alias}:1`, alias].map((host) => ({ host, port }))),
  ];
  for (const { host, port } of addresses) {
    const { headers } = await ask(port, host, '/v2/');
    expect(headers['www-authenticate'], host).toBe(`Bearer realm="http://${host}/token",service="${host}"`);
    const { token } = JSON.parse((await ask(port, host, '/token', 'alice')).body) as { token: string };
    expect(audienceOf(token), host).toBe(namespace);
  }
});

test('plain http to a name that is not local is refused before the password is read', async () => {
  const { port } = server.current;
  for (const [path, user] of [
    ['/v2/', undefined],
    ['/v2/', 'alice'],
    ['/token', 'alice'],
    ['/api/organizations', 'admin'],
  ] as const) {
    const { status, headers, body } = await ask(port, `index.example.com:${port}`, path, user);
    expect([path, status, headers['www-authenticate']]).toEqual([path, 403, undefined]);
    expect(body).toContain('https');
  }
});

test('an unknown name on another port is 404', async () => {
  expect((await ask(server.current.port, 'other.localhost:1', '/v2/')).status).toBe(404);
  expect((await ask(server.current.port, 'index.node3.localhost:1', '/v2/')).status).toBe(404);
});

describe('behind a proxy on this machine', () => {
  const front = (host: string) => ({ 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': host });

  test.each([
    ['central', 0],
    ['node:node1', 1],
    ['node:node2', 2],
  ])(
    'the port that it connects to decides for %s, whatever host and scheme its client sees',
    async (namespace, offset) => {
      const port = server.current.port + offset;
      const cases: [seen: string, host: string, headers: Record<string, string>][] = [
        // A proxy that passes the Host header on, and one that writes its own.
        ['https://localhost:8443', 'localhost:8443', front('localhost:8443')],
        ['https://registry.example.com', `127.0.0.1:${port}`, front('registry.example.com')],
        ['https://[::1]:8443', `127.0.0.1:${port}`, front('[::1]:8443')],
        ['https://localhost:8443', 'localhost:8443', { 'X-Forwarded-Proto': 'https' }],
        ['http://localhost:8080', `127.0.0.1:${port}`, { 'X-Forwarded-Host': 'localhost:8080' }],
        // Only the last value comes from the proxy: earlier ones came from the client.
        [
          'https://b.example.com',
          `127.0.0.1:${port}`,
          { 'X-Forwarded-Proto': 'http, https', 'X-Forwarded-Host': 'a.example.com, b.example.com' },
        ],
        // An invalid scheme or host counts as absent.
        [
          `http://localhost:${port}`,
          `localhost:${port}`,
          { 'X-Forwarded-Proto': 'ftp', 'X-Forwarded-Host': 'evil.test/"x' },
        ],
      ];
      for (const [seen, host, headers] of cases) {
        const answer = await ask(port, host, '/v2/', undefined, headers);
        expect(answer.headers['www-authenticate']).toBe(`Bearer realm="${seen}/token",service="${new URL(seen).host}"`);
        const { token } = JSON.parse((await ask(port, host, '/token', 'alice', headers)).body) as { token: string };
        expect(audienceOf(token), seen).toBe(namespace);
      }
    },
  );

  test('a served name is found on every port', async () => {
    const headers = front('index.node1.localhost:8443');
    const { token } = JSON.parse(
      (await ask(server.current.port, 'localhost:8443', '/token', 'alice', headers)).body,
    ) as {
      token: string;
    };
    expect(audienceOf(token)).toBe('node:node1');
  });
});

test('all hosts accept pushes from the same users', async () => {
  for (const { url } of [server.current, ...server.current.nodes]) {
    const image = imageOf(1000);
    for (const step of pushSteps('alice/app', 'latest', image)) await step.run(loggedIn(url, 'alice'));
    await comparePull(loggedIn(url, 'alice'), 'alice/app', 'latest', image);
    const caller = loggedIn(url, 'bob');
    expect((await request(caller, 'GET', '/v2/alice/app/tags/list')).status).toBe(403);
  }
});

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Sends a request with any Host header. */
function ask(
  port: number,
  host: string,
  path: string,
  user?: string,
  more: Record<string, string> = {},
): Promise<Answer> {
  const headers = {
    Host: host,
    ...more,
    ...(user === undefined ? {} : { Authorization: loggedIn('', user).authorization }),
  };
  return new Promise((done, fail) => {
    const asked = get({ host: '127.0.0.1', port, path, headers }, (response) => {
      text(response).then((body) => done({ status: response.statusCode, headers: response.headers, body }), fail);
    });
    asked.on('error', fail);
  });
}

function audienceOf(token: string): unknown {
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { aud: unknown };
  return claims.aud;
}
