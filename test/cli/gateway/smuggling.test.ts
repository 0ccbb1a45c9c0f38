/** Requests that two readers could understand differently are refused, and none of their bytes reach the host. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { CHUNK, startGateway } from './started.ts';

test.each([
  ['two Host headers', 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n'],
  ['two equal Host headers', 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\nConnection: close\r\n\r\n'],
  ['no Host header', 'GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n'],
  [
    'a length and a transfer coding',
    'PATCH /v2/a/b/uploads/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n',
  ],
  [
    'two lengths',
    'PATCH /v2/a/b/uploads/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  ],
  ['a length that is not a number', 'PATCH /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na'],
  [
    'a transfer coding that is not last',
    'PATCH /v2/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, x\r\n\r\n',
  ],
  ['a space before a colon', 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length : 1\r\n\r\na'],
  ['a folded header', 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n'],
  ['a line that ends without a carriage return', 'GET /v2/ HTTP/1.1\nHost: localhost\n\n'],
  ['an address that cannot be read', 'GET http://[ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'],
])('%s: 400', async (_name, sent) => {
  const { host, port } = await startGateway(CHUNK);
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.end(sent);
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
  expect(host.received).toEqual([]);
});
