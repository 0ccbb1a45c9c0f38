/** The answers that clients get over HTTP when their organization's quota is used up. */
import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { loggedIn, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();

test.each([
  ['PATCH, then PUT, as docker, podman, skopeo and crane do', 'PATCH'],
  ['PUT', 'PUT'],
  ['POST with the digest', 'POST'],
])('%s: the answer is 403 with the reason, and the connection stays open', async (_name, method) => {
  const { url } = server.current;
  const limited = await request(loggedIn(url, 'admin'), 'PUT', '/api/organizations/alice/quota', {
    headers: { 'Content-Type': 'application/json' },
    body: Buffer.from(JSON.stringify({ bytes: 1_000_000 })),
  });
  expect(limited.status).toBe(200);
  await limited.arrayBuffer();
  const caller = loggedIn(url, 'alice');
  const content = randomBytes(4 * 1024 ** 2);
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  for (let attempt = 0; attempt < 3; attempt++) {
    let path = `/v2/alice/limited/blobs/uploads/?digest=${digest}`;
    if (method !== 'POST') {
      const opened = await request(caller, 'POST', '/v2/alice/limited/blobs/uploads/');
      path = `${opened.headers.get('Location')}${method === 'PUT' ? `?digest=${digest}` : ''}`;
    }
    const refused = await request(caller, method, path, { body: content });
    const { errors } = (await refused.json()) as { errors: { code: string; message: string; detail: object }[] };
    expect(refused.status).toBe(403);
    expect(errors).toMatchObject([
      {
        code: 'DENIED',
        message:
          `this ${method === 'PATCH' ? 'chunk' : 'blob'} of 4.19 MB would exceed the quota of the organization alice: ` +
          '0 bytes of 1 MB are used. Delete images, or ask for a larger quota',
        detail: { organization: 'alice', used: 0, quota: 1_000_000 },
      },
    ]);
  }
  const { used } = (await (await request(loggedIn(url, 'admin'), 'GET', '/api/organizations/alice/usage')).json()) as {
    used: number;
  };
  expect(used).toBe(0);
});
