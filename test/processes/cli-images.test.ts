import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { tar } from '../e2e/images/tar.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { berth } from '../cli/support/berth.ts';
import { clientOf, digestIn } from '../cli/images/client.ts';
import { blobsOf, Layout } from '../cli/images/layout.ts';

const MEBIBYTE = 1024 ** 2;
const server = serverForFile();
const client = clientOf(server);
const { run, layoutAt, wire, login } = client;

test('a login is kept for docker, and a wrong one is not', async () => {
  const file = join(client.folder, 'docker', 'config.json');
  const config = JSON.parse(await readFile(file, 'utf8')) as { auths: Record<string, unknown> };
  expect(config.auths[client.host]).toEqual({ auth: btoa('alice:alice-dev') });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const wrong = await berth(['login', '-u', 'alice', '--password-stdin', client.host], {
    env: client.env,
    stdin: 'wrong-password',
  });
  expect(wrong).toMatchObject({ code: 1, stdout: '' });
  expect(wrong.stderr).toMatch(/401, UNAUTHORIZED/);
  expect(wrong.stderr).not.toContain('wrong-password');
  expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(config);
});

test('an index is pushed with all its children and their referrers, and pulled back', async () => {
  const layout = layoutAt('index');
  const index = await layout.index([await layout.image([3 * MEBIBYTE, 10]), await layout.image([1, 2000])]);
  await layout.list(index, '1');
  const signature = await layout.image([5], { subject: index, artifactType: 'application/x-signature' });
  await layout.list(signature);
  expect(digestIn(await run(['push', `oci:${layout.folder}:1`, `${client.host}/alice/index:1`]))).toBe(index.digest);

  const pulled = await run(['pull', '--referrers', `${client.host}/alice/index:1`, join(client.folder, 'pulled')]);
  expect(digestIn(pulled)).toBe(index.digest);
  expect(await blobsOf(join(client.folder, 'pulled'))).toEqual(await blobsOf(layout.folder));
  const { manifests } = JSON.parse(await readFile(join(client.folder, 'pulled', 'index.json'), 'utf8')) as {
    manifests: unknown;
  };
  expect(manifests).toEqual([
    expect.objectContaining({ digest: signature.digest }),
    expect.objectContaining({ digest: index.digest, annotations: { 'org.opencontainers.image.ref.name': '1' } }),
  ]);

  const archive = join(client.folder, 'pulled.tar');
  // Another pull, which was killed, has left this.
  const stale = new Layout(`${archive}.partial`);
  await stale.list(await stale.image([100]), 'stale');
  await run(['pull', '--referrers', `${client.host}/alice/index:1`, `oci-archive:${archive}`]);
  expect(digestIn(await run(['push', archive, `${client.host}/alice/from-archive`]))).toBe(index.digest);
});

test('a copy within a registry mounts, and one to another registry copies', async () => {
  const layout = layoutAt('copied');
  await layout.list(await layout.image([2 * MEBIBYTE, 30]), '1');
  const { wire: counted, at } = await wire();
  const pushed = digestIn(await run(['push', layout.folder, `${at}/alice/copied:1`]));
  const before = counted.sent;
  expect(digestIn(await run(['copy', `${at}/alice/copied:1`, `${at}/alice/mounted`]))).toBe(pushed);
  expect(counted.sent - before).toBeLessThan(MEBIBYTE);

  const node = `127.0.0.1:${server.current.nodes[0]?.port}`;
  await login(node);
  expect(digestIn(await run(['copy', `${client.host}/alice/copied:1`, `${node}/alice/elsewhere:2`]))).toBe(pushed);
});

async function savedImage(name: string): Promise<string> {
  const file = (path: string, bytes: Buffer) =>
    ({ kind: 'file', path, content: { size: bytes.length, read: () => [bytes] } }) as const;
  const layer = await buffer(tar([file('hello', Buffer.alloc(9 * MEBIBYTE, 'hello '))]));
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');
  const manifest = [{ Config: 'config.json', RepoTags: ['app:1'], Layers: ['a/layer.tar', 'b/layer.tar'] }];
  const archive = tar([
    file('config.json', config),
    file('a/layer.tar', layer),
    { kind: 'link', path: 'b/layer.tar', linkTo: '../a/layer.tar' },
    file('manifest.json', Buffer.from(JSON.stringify(manifest))),
  ]);
  const path = join(client.folder, name);
  await writeFile(path, archive);
  return path;
}

test('an archive of docker save is compressed, to the same bytes each time', async () => {
  const archive = await savedImage('saved.tar');
  const first = digestIn(await run(['push', `docker-archive:${archive}:app:1`, `${client.host}/alice/saved:1`]));
  // The digest must not change with Node's version or the processor: each change sends every layer again.
  expect(first).toBe('sha256:d702838d21466c602dae52bb059fdf60b32459c1c143b9dac77396f426b1f636');
  const { wire: counted, at } = await wire();
  expect(digestIn(await run(['push', archive, `${at}/alice/saved:2`]))).toBe(first);
  expect(counted.sent).toBeLessThan(20_000);

  const loadable = join(client.folder, 'loadable.tar');
  await run(['pull', `${client.host}/alice/saved:1`, `docker-archive:${loadable}`]);
  expect(
    digestIn(
      await run(['push', `docker-archive:${loadable}:${client.host}/alice/saved:1`, `${client.host}/alice/again`]),
    ),
  ).toBe(first);
});

test('an image of docker is taken from docker save', async () => {
  const bin = join(client.folder, 'bin');
  await mkdir(bin);
  const archive = await savedImage('from-docker.tar');
  const script = `#!/bin/sh\n[ "$*" = "save -- app:1" ] || { echo "no such image" >&2; exit 1; }\nexec cat '${archive}'\n`;
  await writeFile(join(bin, 'docker'), script, { mode: 0o700 });
  const path = { ...client.env, PATH: `${bin}:${process.env['PATH']}` };
  expect(await berth(['push', 'docker:app:1', `${client.host}/alice/docker`], { env: path })).toMatchObject({
    code: 0,
  });
  const absent = await berth(['push', 'docker:absent', `${client.host}/alice/docker`], { env: path });
  expect(absent).toMatchObject({ code: 1, stderr: expect.stringContaining('docker could not save absent') });
});

test('a damaged layout is not pushed', async () => {
  const layout = layoutAt('damaged');
  const image = await layout.image([1000]);
  await layout.list(image, '1');
  await writeFile(join(layout.folder, 'blobs/sha256', image.digest.slice(7)), '{}');
  const { code, stderr } = await berth(['push', layout.folder, `${client.host}/alice/damaged`], { env: client.env });
  expect([code, stderr]).toEqual([1, expect.stringContaining('is damaged')]);
});

test('a bad descriptor in an index and a folder that cannot be written are named', async () => {
  const layout = layoutAt('incomplete');
  const image = await layout.image([10]);
  await layout.list(await layout.index([{ ...image, size: -1 }]), '1');
  const broken = await berth(['push', layout.folder, `${client.host}/alice/broken`], { env: client.env });
  expect(broken.stderr).toMatch(
    /^berth: the manifest sha256:\w+ has a descriptor without a valid media type or size\n$/,
  );
  const whole = layoutAt('whole');
  await whole.list(await whole.image([10]));
  await run(['push', whole.folder, `${client.host}/alice/whole`]);
  const nowhere = await berth(['pull', `${client.host}/alice/whole`, '/dev/null/layout'], { env: client.env });
  expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringMatching(/berth: ENOTDIR: .*\/dev\/null\/layout/)]);
});

test.each([
  [['push', 'absent', 'HOST/alice/app'], 2, /there is no file or folder absent: .*docker:absent/],
  [['pull', 'HOST/alice/absent', 'oci:somewhere'], 1, /has no image latest: check the name and the tag/],
  [['push', 'LAYOUT:9', 'HOST/alice/app'], 2, /has no image 9: it has 1, 2/],
  [['push', 'LAYOUT', 'HOST/alice/app'], 2, /say which image you mean, after a colon: it has 1, 2/],
  [['push', 'LAYOUT:1', 'HOST/bob/app'], 1, /bob\/app.* status 403: the login does not have the right/],
])('%j ends with what to do', async (args, expected, message) => {
  const layout = layoutAt('two');
  await layout.list(await layout.image([1]), '1');
  await layout.list(await layout.image([2]), '2');
  const given = args.map((each) => each.replace('HOST', client.host).replace('LAYOUT', layout.folder));
  const { code, stderr } = await berth(given, { env: client.env, cwd: client.folder });
  expect([code, stderr]).toEqual([expected, expect.stringMatching(message)]);
});

test('progress is a line every few seconds, and nothing with --quiet', async () => {
  const layout = layoutAt('quiet');
  await layout.list(await layout.image([1000]), '1');
  const loud = await run(['push', layout.folder, `${client.host}/alice/loud:1`]);
  expect(loud.stderr).toBe('pushing: 2 of 2 blobs, 1.0 kB of 1.0 kB\n');
  expect((await run(['push', '--quiet', layout.folder, `${client.host}/alice/quiet:1`])).stderr).toBe('');
});
