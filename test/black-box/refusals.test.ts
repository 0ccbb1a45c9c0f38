/** Invariant 7: a refusal that is sent before the body was read must reach a client that is still sending. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { loggedIn, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();

test.each(['PATCH', 'PUT'])(
  'a large chunk out of order (%s) is answered with where to continue, and the connection stays open',
  async (method) => {
    const caller = loggedIn(server.current.url, 'alice');
    const opened = await request(caller, 'POST', '/v2/alice/refused/blobs/uploads/');
    const location = opened.headers.get('Location') ?? '';
    const content = randomBytes(32 * 1024 ** 2);
    const headers = { 'Content-Range': `5-${content.byteLength + 4}` };
    const query = method === 'PUT' ? `?digest=sha256:${'0'.repeat(64)}` : '';
    for (let attempt = 0; attempt < 5; attempt++) {
      const refused = await request(caller, method, `${location}${query}`, { body: content, headers });
      expect([refused.status, refused.headers.get('Range')]).toEqual([416, '0-0']);
      await refused.arrayBuffer();
    }
  },
);
