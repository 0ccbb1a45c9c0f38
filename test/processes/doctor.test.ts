/** The doctor as a command: what it prints, its exit status, and what it leaves behind when it is interrupted. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { BOTH, ORGANIZATION } from '../support/local/doctor-credentials.ts';
import { Edge } from '../support/local/edge.ts';
import { loggedIn, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const DOCTOR = fileURLToPath(new URL('../../src/local/doctor/doctor.ts', import.meta.url));
const server = serverForFile();

let edge: Edge | undefined;
afterEach(async () => {
  await edge?.close();
  edge = undefined;
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[], environment: NodeJS.ProcessEnv): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [DOCTOR, ...args], { env: { ...process.env, ...environment } });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (output.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output.stderr += data.toString()));
  const ended = new Promise<Ended>((done) => child.on('close', (status) => done({ status, ...output })));
  return { child, ended };
}

const url = (): string => `http://localhost:${server.current.port}`;

test('it prints a line for each finding, and ends with 0', async () => {
  const { status, stdout, stderr } = await run([url()], BOTH).ended;
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(new RegExp(`^ok {11}localhost:${server.current.port + 1} {2}pull: every byte`, 'm'));
  expect(stdout).toMatch(/\n\d+ ok, 0 warnings, 0 failures, \d+ not checked\n$/);
  for (const secret of ['alice-dev', 'admin-dev']) expect(stdout).not.toContain(secret);
});

test('with --json it prints one document, and ends with 1 after a failure', async () => {
  edge = await Edge.start(server.current.port);
  edge.fault = { refuse: ({ path }) => (path === '/healthz' ? { status: 500 } : undefined) };
  const { status, stdout } = await run([edge.url, '--json'], {}).ended;
  expect(status).toBe(1);
  const { lines, ...rest } = JSON.parse(stdout) as { lines: object[]; counts: object };
  expect(rest).toMatchObject({ url: edge.url, hosts: [edge.host], counts: { failure: 1, warning: 0 } });
  expect(lines).toContainEqual({
    check: 'health',
    host: edge.host,
    outcome: 'failure',
    seen: 'GET /healthz is answered with 500',
    todo: 'Look at the log of the Worker: npx wrangler tail --env production.',
  });
});

test('wrong use prints the usage, and ends with 2', async () => {
  for (const args of [[], ['--fix'], ['http://index.example.com']]) {
    const { status, stdout, stderr } = await run(args, {}).ended;
    expect([args, status, stdout]).toEqual([args, 2, '']);
    expect(stderr).toMatch(/npm run doctor|must be https/);
  }
});

test('if nobody reads its output, it removes the content that it has pushed', async () => {
  const asked = Promise.withResolvers<string>();
  const gone = Promise.withResolvers<void>();
  edge = await Edge.start(server.current.port);
  edge.fault = {
    // The image is pushed by then. The lines about it are printed when nobody reads them any more.
    hold: ({ method, path }) => {
      const repository = /^\/v2\/(\S+)\/manifests\//.exec(path)?.[1];
      if (method !== 'HEAD' || repository === undefined) return undefined;
      asked.resolve(repository);
      return gone.promise;
    },
  };
  const { child, ended } = run([edge.url], ORGANIZATION);
  const repository = await asked.promise;
  child.stdout?.destroy();
  gone.resolve();
  expect((await ended).status).toBe(1);
  const answer = await request(loggedIn(server.current.url, 'alice'), 'GET', `/v2/${repository}/tags/list`);
  expect(answer.status).toBe(404);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('after %s it removes what it has pushed, and ends with %i', async (signal, expected) => {
  const asked = Promise.withResolvers<string>();
  edge = await Edge.start(server.current.port + 1);
  edge.fault = {
    hold: ({ method, path }) => {
      const repository = /^\/v2\/(\S+)\/manifests\//.exec(path)?.[1];
      if (method !== 'HEAD' || repository === undefined) return undefined;
      asked.resolve(repository);
      return new Promise(() => {});
    },
  };
  const { child, ended } = run([edge.url], ORGANIZATION);
  const repository = await asked.promise;
  child.kill(signal);
  const { status, stdout, stderr } = await ended;
  expect(status).toBe(expected);
  expect(stderr).toContain('Cleaning up');
  expect(stdout).toContain(`clean-up: ${repository} is removed`);
  for (const at of [server.current.url, ...server.current.nodes.map((node) => node.url)]) {
    const answer = await request(loggedIn(at, 'alice'), 'GET', `/v2/${repository}/tags/list`);
    expect([at, answer.status]).toEqual([at, 404]);
  }
});
