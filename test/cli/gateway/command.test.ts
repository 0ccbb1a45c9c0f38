/** `berth gateway` as a process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { berth, PROGRAM } from '../support/berth.ts';
import { Host } from './host.ts';
import { askOn, pathOf } from './started.ts';

async function started(...options: readonly string[]) {
  const host = new Host();
  await host.listen();
  const child = spawn(process.execPath, [PROGRAM, 'gateway', host.url.host, ...options]);
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (text: Buffer) => (printed[name] += text.toString()));
  }
  const exited = once(child, 'exit') as Promise<[number | null]>;
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
    await host.close();
  });
  await until(() => printed.stdout.includes('docker push'));
  const port = Number(/localhost:(\d+)/.exec(printed.stdout)?.[1]);
  return { host, child, port, printed, exited };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((done) => setTimeout(done, 10));
}

test('it says what to type, passes requests on, and ends with Ctrl-C', async () => {
  const { host, child, port, printed, exited } = await started();
  expect(printed.stdout).toContain(`docker push localhost:${port}/acme/app`);
  expect((await askOn(port, { method: 'POST', path: '/v2/acme/app/uploads/' })).status).toBe(202);
  expect(host.received).toHaveLength(1);
  child.kill('SIGINT');
  expect(await exited).toEqual([0, null]);
  expect(printed.stderr).toBe('');
});

test('Ctrl-C lets a running upload come to its end, and a second one does not', async () => {
  for (const ends of [true, false]) {
    const { host, child, port, printed, exited } = await started();
    const path = pathOf(await askOn(port, { method: 'POST', path: '/v2/acme/app/uploads/' }));
    const upload = request({ host: '127.0.0.1', port, method: 'PATCH', path, headers: { 'content-length': 4 } });
    upload.on('error', () => undefined);
    const answered = new Promise<number | undefined>((done) => {
      upload.on('response', ({ statusCode }) => done(statusCode)).on('close', () => done(undefined));
    });
    upload.write('ab');
    await until(() => host.received.length === 2);
    child.kill('SIGINT');
    await until(() => printed.stderr.includes('Ctrl-C again'));
    if (ends) upload.end('cd');
    else child.kill('SIGINT');
    expect(await answered).toBe(ends ? 202 : undefined);
    upload.destroy();
    expect(await exited).toEqual([0, null]);
  }
});

test.each([
  [['--port', '70000'], 'A port is a number'],
  [['--chunk', '0'], 'A chunk has 1 to 256 MiB'],
  [[], "missing required argument 'host'"],
])('wrong use is refused: %j', async (options, message) => {
  const { code, stderr } = await berth(['gateway', ...(options.length === 0 ? [] : ['index.example.com']), ...options]);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});
