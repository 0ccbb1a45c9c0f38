/** Invariant 1: acknowledged data survives a kill -9 between any two requests of a push. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  chunked,
  compareBlob,
  comparePull,
  imageOf,
  loggedIn,
  pushSteps,
  request,
  sha256,
} from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { until } from '../support/local/server.ts';

const server = serverForFile();

test('a push that is killed after each of its requests continues where it was, and is whole', async () => {
  const image = imageOf(3_000_000);
  const steps = pushSteps('alice/app', 'latest', image);
  for (const [i, step] of steps.entries()) {
    await step.run(loggedIn(server.current.url, 'alice'));
    await server.current.kill();
    await server.restart();
    const finished = image.blobs.slice(0, Math.floor((i + 1) / 3));
    for (const blob of finished) await compareBlob(loggedIn(server.current.url, 'alice'), 'alice/app', blob);
  }
  await comparePull(loggedIn(server.current.url, 'alice'), 'alice/app', 'latest', image);
  await comparePull(loggedIn(server.current.url, 'alice'), 'alice/app', image.digest, image);
});

test('a chunk that is killed in the middle leaves the upload at its old offset, and the upload can continue', async () => {
  const caller = loggedIn(server.current.url, 'alice');
  const content = randomBytes(2_000_000);
  const opened = await request(caller, 'POST', '/v2/alice/half/blobs/uploads/');
  const location = opened.headers.get('Location') ?? '';
  let sent = 0;
  // The stream is slow enough to be interrupted, and sends at most 32 MB: the simulators buffer where R2 would apply
  // backpressure.
  const slow = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      await new Promise((done) => setTimeout(done, 5));
      sent += 65_536;
      if (sent > 32_000_000) controller.close();
      else controller.enqueue(new Uint8Array(65_536));
    },
  });
  const interrupted = request(caller, 'PATCH', location, { body: slow, duplex: 'half' } as RequestInit).then(
    () => 'answered',
    () => 'interrupted',
  );
  await until(() => sent > 1_000_000);
  await server.current.kill();
  expect(await interrupted).toBe('interrupted');
  await server.restart();
  const progress = await request(caller, 'GET', location);
  expect([progress.status, progress.headers.get('Range')]).toEqual([204, '0-0']);
  const patched = await request(caller, 'PATCH', location, chunked(content));
  expect(patched.status).toBe(202);
  const finished = await request(caller, 'PUT', `${patched.headers.get('Location')}?digest=${sha256(content)}`);
  expect(finished.status).toBe(201);
  await compareBlob(caller, 'alice/half', content);
});
