/**
 * Runs the command blocks of the README, of docs/deploying.md, docs/api.md and docs/cli.md. A page's `sh` blocks run in
 * order, in one shell, against a registry on free ports. Blocks marked `sh account` need a Cloudflare account, and
 * blocks marked `sh example` need a value from the reader.
 */
import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseMarkdown } from '../support/local/markdown.ts';
import { ROOT } from '../support/local/operator.ts';
import { imageOf, loggedIn, pushSteps } from '../support/local/push.ts';
import { removeFolder, type Server, startServer, temporaryFolder } from '../support/local/server.ts';

const NOT_RUN: ReadonlySet<string> = new Set(['sh account', 'sh example']);

let folder: string;
let state: string;
let server: Server;

beforeAll(async () => {
  folder = await temporaryFolder();
  state = join(folder, 'state');
  server = await startServer(state);
  await copyWorkspace();
  await install('docker', join(ROOT, 'test/support/local/docker-stand-in.ts'));
  await install('berth', join(ROOT, 'cli/dist/berth.js'));
});

afterAll(async () => {
  await server.kill();
  await removeFolder(folder);
});

/** Copies the repository without its tests, for commands that change files. */
async function copyWorkspace(): Promise<void> {
  const workspace = join(folder, 'workspace');
  await mkdir(workspace);
  for (const name of ['src', 'package.json', 'tsconfig.json', 'wrangler.toml']) {
    await cp(join(ROOT, name), join(workspace, name), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(workspace, 'node_modules'));
}

/**
 * Installs a program that Node runs. Docker is a stand-in, which sends docker's requests without its daemon: not every
 * machine has the daemon, and it would keep the test's images.
 */
async function install(name: string, script: string): Promise<void> {
  const program = join(folder, 'bin', name);
  await mkdir(dirname(program), { recursive: true });
  await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' '${script}' "$@"\n`);
  await chmod(program, 0o755);
}

async function shellBlocks(page: string) {
  const { blocks } = parseMarkdown(await readFile(join(ROOT, page), 'utf8'));
  const shell = blocks.filter(({ info }) => /^(?:sh|bash|shell|console)\b/.test(info));
  expect(shell.filter(({ info }) => info !== 'sh' && !NOT_RUN.has(info))).toEqual([]);
  return shell.filter(({ info }) => info === 'sh');
}

/** Runs the blocks in one shell that ends at the first failure. A request with a status of 400 or above fails. */
function runBlocks(
  page: string,
  blocks: readonly { text: string; line: number }[],
  env: Record<string, string> = {},
): string {
  const here = (text: string) =>
    text
      .replaceAll('https://index.example.com', `http://localhost:${server.port}`)
      .replaceAll(/localhost:878([789])/g, (_, digit) => `localhost:${server.port + Number(digit) - 7}`)
      .replaceAll('.berth/', `${state}/`);
  const script = [
    'set -eu',
    'curl() { command curl --silent --show-error --fail-with-body "$@"; }',
    ...blocks.map(({ text, line }) => `echo "--- ${page}:${line}"\n${here(text)}\necho`),
  ].join('\n');
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script], {
    cwd: join(folder, 'workspace'),
    env: {
      ...process.env,
      PATH: [join(folder, 'bin'), dirname(process.execPath), process.env['PATH']].join(delimiter),
      DOCKER_STATE: join(folder, 'docker.json'),
      ...env,
    },
    encoding: 'utf8',
  });
  expect({ status, stderr: status === 0 ? '' : stderr, stdout: status === 0 ? '' : stdout }).toEqual({
    status: 0,
    stderr: '',
    stdout: '',
  });
  return stdout;
}

async function push(port: number, repository: string): Promise<void> {
  const caller = loggedIn(`http://localhost:${port}`, 'alice');
  for (const step of pushSteps(repository, 'latest', imageOf(20_000))) await step.run(caller);
}

test('README.md: npm start, a push to a node and a pull from central work', async () => {
  const [start, ...rest] = await shellBlocks('README.md');
  // The registry of this file stands for these two commands.
  expect(start?.text).toBe('npm ci\nnpm start');
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  expect(scripts['start']).toBe('node src/local/start.ts');
  expect(rest.map(({ text }) => text).join('\n')).toMatch(/docker push localhost:8788.*docker pull localhost:8787/s);
  runBlocks('README.md', rest);
});

test('docs/deploying.md: the commands that need no account work', async () => {
  const blocks = await shellBlocks('docs/deploying.md');
  const { BOOTSTRAP_SECRET } = JSON.parse(await readFile(join(state, 'secrets.json'), 'utf8')) as Record<
    string,
    string
  >;
  const output = runBlocks('docs/deploying.md', blocks, { BOOTSTRAP_SECRET: BOOTSTRAP_SECRET ?? '' });
  expect(output).toContain('"status":"ok"');
  expect(output).toContain('Added node fra to wrangler.toml');
  expect(output).toMatch(/"name":"ci".*"secret":"/s);
});

test('docs/api.md: every request gets the documented answer', async () => {
  // A fresh registry is needed because both pages create `acme`.
  await server.kill();
  state = join(folder, 'state-of-api');
  server = await startServer(state);
  for (const repository of ['alice/app', 'alice/team/app']) await push(server.port, repository);
  await push(server.nodes[0]?.port ?? 0, 'alice/alpine');
  const output = runBlocks('docs/api.md', await shellBlocks('docs/api.md'));
  expect(output).toMatch(/"state":"(?:announced|settled)"/);
  expect(output).toContain('"node":"node2"');
  expect(output).toContain('berth_queue_up');
});

test('docs/cli.md: the commands work', async () => {
  const output = runBlocks('docs/cli.md', await shellBlocks('docs/cli.md'), { DOCKER_CONFIG: folder });
  expect(output).toMatch(/^central +ok /m);
  expect(output).toMatch(/alice\/alpine is settled: sha256:/);
  expect(output).toMatch(/node2 has alice\/alpine: sha256:/);
  expect(output).toContain('removed widgets');
});
