/** Which namespace answers, by port and by name. */
import { get, type IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
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

test('plain http to a name that is not of this machine is refused before the password is read', async () => {
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

test('nothing is served at another name and port', async () => {
  expect((await ask(server.current.port, 'other.localhost:1', '/v2/')).status).toBe(404);
  expect((await ask(server.current.port, 'index.node3.localhost:1', '/v2/')).status).toBe(404);
});

test('all take pushes from the same users', async () => {
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

/** A request with a Host header of one's own. */
function ask(port: number, host: string, path: string, user?: string): Promise<Answer> {
  const headers = { Host: host, ...(user === undefined ? {} : { Authorization: loggedIn('', user).authorization }) };
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
