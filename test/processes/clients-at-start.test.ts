/** Clients that retry while the server starts, as after a crash. */
import { expect, test } from 'vitest';
import { freePorts } from '../../src/local/simulators.ts';
import { loggedIn } from '../support/local/push.ts';
import { removeFolder, type Server, startServer, temporaryFolder } from '../support/local/server.ts';

const CLIENTS = 12;

test('the server starts while 12 clients retry, and answers only 503 until it can serve', async () => {
  const folder = await temporaryFolder();
  const [port = 0] = await freePorts();
  const statuses = new Set<string>();
  const stopped = new AbortController();
  const ask = async (at: number): Promise<void> => {
    const url = `http://127.0.0.1:${at}/v2/alice/app/tags/list`;
    const { authorization } = loggedIn('', 'alice');
    const answer = await fetch(url, { headers: { Authorization: authorization }, signal: stopped.signal }).catch(
      () => undefined,
    );
    if (answer === undefined) return;
    const { status, headers } = answer;
    statuses.add(
      status === 503 && headers.has('Retry-After') ? '503 with Retry-After' : `${status}: ${await answer.text()}`,
    );
  };
  const clients = Array.from({ length: CLIENTS }, async (_, i) => {
    while (!stopped.signal.aborted) await ask(port + (i % 3));
  });
  let server: Server | undefined;
  try {
    server = await startServer(folder, port);
    for (let i = 0; i < 3; i++) await ask(port + i);
  } finally {
    stopped.abort();
    await Promise.all(clients);
    await server?.kill();
    await removeFolder(folder);
  }
  const unforeseen = [...statuses].filter(
    (status) => status !== '503 with Retry-After' && !status.includes('NAME_UNKNOWN'),
  );
  expect(unforeseen).toEqual([]);
  expect([...statuses].some((status) => status.startsWith('404'))).toBe(true);
});
