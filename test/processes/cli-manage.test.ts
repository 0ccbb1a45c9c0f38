/** The commands that look at a registry and manage it, against a registry as `npm start` runs it. */
import { spawn } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { imageOf, type LocalImage, loggedIn, pushSteps, putManifest, request, sha256 } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';
import { berth, PROGRAM, type Result } from '../cli/support/berth.ts';

const registry = serverForFile();

/** Returns `127.0.0.1:port` of central, or of a node by its number. */
function hostOf(node?: 1 | 2): string {
  const { port } = node === undefined ? registry.current : (registry.current.nodes[node - 1] ?? registry.current);
  return `127.0.0.1:${port}`;
}

/** Runs `berth` as a user of the local registry. */
function as(user: string, args: readonly string[], host = hostOf()): Promise<Result> {
  const env = { BERTH_HOST: host, BERTH_USERNAME: user, BERTH_PASSWORD: `${user}-dev`, DOCKER_CONFIG: registry.folder };
  return berth(args, { env });
}

const succeeded = (stdout: string): Result => ({ code: 0, stdout, stderr: '' });

async function push(repository: string, tag: string, node?: 1 | 2, image = imageOf(1000)): Promise<string> {
  for (const step of pushSteps(repository, tag, image)) await step.run(loggedIn(`http://${hostOf(node)}`, 'alice'));
  return image.digest;
}

/** Returns an image with the blobs of another one, and other fields. */
function variantOf({ blobs, manifest }: LocalImage, fields: object): LocalImage {
  const text = Buffer.from(JSON.stringify({ ...JSON.parse(manifest.toString()), ...fields }));
  return { blobs, manifest: text, digest: sha256(text) };
}

function rows({ code, stdout, stderr }: Result): string[][] {
  expect([code, stderr]).toEqual([0, '']);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));
}

describe('images', () => {
  test('a push to a node is waited for, listed with its history, and brought back after a deletion', async () => {
    const first = await push('alice/app', '1', 1);
    const image = `${hostOf(1)}/alice/app:1`;
    expect(await as('alice', ['wait', image, '--for', 'announced'], hostOf(1))).toMatchObject({ code: 0 });
    expect(await as('alice', ['wait', image, '--timeout', '60s'], hostOf(1))).toMatchObject({
      code: 0,
      stdout: `${image} is settled: ${first}\n`,
    });
    const listed = rows(await as('alice', ['images', `${hostOf()}/alice`]));
    expect(listed).toEqual([
      ['REPOSITORY', 'TAG', 'DIGEST', 'PUSHED', 'SIZE'],
      ['alice/app', '1', first, expect.any(String), '1.2 kB'],
    ]);

    const second = await push('alice/app', '1', 1);
    expect(await as('alice', ['rm', 'alice/app:1'], hostOf(1))).toMatchObject({ code: 0 });
    const [heading, ...writes] = rows(await as('alice', ['history', 'alice/app:1'], hostOf(1)));
    expect(heading).toEqual(['WRITE', 'DIGEST', 'AUTHOR', 'WRITTEN', 'STATE', 'STORES']);
    expect(writes.map(([, digest, author, , state]) => [digest, author, state])).toEqual([
      ['deleted', 'alice', 'current'],
      [second, 'alice', 'restorable'],
      [first, 'alice', 'restorable'],
    ]);
    const [write = ''] = writes[1] ?? [];
    expect(await as('alice', ['restore', 'alice/app:1', write], hostOf(1))).toEqual(
      succeeded(`alice/app:1 is ${second} again\n`),
    );
  });

  test('an image is copied to a node, and pinned there', async () => {
    const digest = await push('alice/prefetched', '1');
    expect(await as('alice', ['prefetch', 'alice/prefetched:1', 'node2'])).toMatchObject({
      code: 0,
      stdout: `node2 has alice/prefetched:1: ${digest}\n`,
    });
    const pinned = 'alice/prefetched:1';
    expect(await as('admin', ['pin', 'add', pinned, 'node2'])).toEqual(succeeded(`pinned ${pinned} to node2\n`));
    expect(rows(await as('admin', ['pin', 'ls', pinned]))[1]?.[0]).toBe('node2');
    const unpinned = await as('admin', ['pin', 'rm', pinned, 'node2', '--json']);
    expect(JSON.parse(unpinned.stdout)).toEqual({ removed: pinned, node: 'node2' });
    expect(rows(await as('admin', ['pin', 'ls', pinned]))).toEqual([['NODE', 'PINNED']]);
  });
});

describe('one image', () => {
  test('shows its layers with the images that share them, where its bytes are, and its referrers', async () => {
    const image = imageOf(2000);
    await push('alice/inspected', '1', 1, image);
    const sibling = variantOf(image, { annotations: { variant: 'second' } });
    const subject = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: image.digest,
      size: image.manifest.byteLength,
    };
    const signature = variantOf(image, { subject, artifactType: 'application/vnd.example.signature' });
    const caller = loggedIn(`http://${hostOf(1)}`, 'alice');
    await putManifest(caller, 'alice/inspected', '2', sibling);
    await putManifest(caller, 'alice/inspected', signature.digest, signature);
    await as('alice', ['wait', 'alice/inspected:1'], hostOf(1));

    expect(await as('alice', ['tags', 'alice/inspected'], hostOf(1))).toEqual(succeeded('1\n2\n'));
    const [about, layers, locations, referrers] = (
      await as('alice', ['inspect', 'alice/inspected:1'], hostOf(1))
    ).stdout.split('\n\n');
    expect(about).toMatch(/^Size: +2\.2 kB in 2 blobs$/m);
    expect(about).toMatch(/^Shared: +2\.2 kB with other images/m);
    expect(about).toMatch(/^State: +settled$/m);
    expect(layers).toContain(sha256(image.blobs[1] ?? Buffer.of()));
    expect(layers).toMatch(/2\.0 kB +application\/vnd\.oci\.image\.layer\.v1\.tar +2$/m);
    expect(locations).toMatch(/^central +2 of 2 +2\.2 kB$/m);
    expect(locations).toMatch(/^node1 +2 of 2 +2\.2 kB$/m);
    expect(referrers).toContain(`application/vnd.example.signature  ${signature.digest}`);

    const { stdout } = await as('alice', ['inspect', 'alice/inspected:1', '--json'], hostOf(1));
    expect(JSON.parse(stdout)).toMatchObject({
      digest: image.digest,
      size: 2200,
      blobs: [{}, { descriptor: { size: 2000 }, shared_with: ['2'] }],
      referrers: [{ digest: signature.digest }],
      replication: { state: 'settled' },
    });
  });

  test('an index shows its platforms', async () => {
    const [arm, amd] = [imageOf(1000), imageOf(3000)];
    for (const each of [arm, amd]) await push('alice/multi', `only-${each === arm ? 'arm' : 'amd'}`, undefined, each);
    const child = ({ digest, manifest }: LocalImage, architecture: string) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest,
      size: manifest.byteLength,
      platform: { os: 'linux', architecture },
    });
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [child(arm, 'arm64'), child(amd, 'amd64')],
      }),
    );
    const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
    const caller = loggedIn(`http://${hostOf()}`, 'alice');
    const put = await request(caller, 'PUT', '/v2/alice/multi/manifests/1', {
      body: new Uint8Array(manifest),
      headers,
    });
    expect(put.status).toBe(201);
    const { stdout } = await as('alice', ['inspect', 'alice/multi:1']);
    expect(stdout).toMatch(/^Size: +4\.4 kB in 4 blobs$/m);
    expect(stdout).toContain(
      `linux/arm64  ${arm.digest}       2  1.2 kB\nlinux/amd64  ${amd.digest}       2  3.2 kB\n`,
    );
  });

  test('a tag is removed alone, an image with all its tags', async () => {
    const digest = await push('alice/removed', '1');
    expect(await as('alice', ['rm', 'alice/removed:1'])).toEqual(succeeded('removed alice/removed:1\n'));
    expect(await as('alice', ['rm', 'alice/removed:1'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no alice/removed:1'),
    });
    const image = `alice/removed@${digest}`;
    const { code, stdout } = await as('alice', ['rm', '--json', image, 'alice/removed:1']);
    expect([code, JSON.parse(stdout)]).toEqual([1, { removed: [image] }]);
    expect(await as('alice', ['inspect', image])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has no image'),
    });
    expect(await as('alice', ['rm', 'alice/removed'])).toMatchObject({ code: 2 });
  });
});

describe('the deployment', () => {
  test('status shows every store, and a paused queue', async () => {
    await push('alice/seen', '1', 2);
    await as('alice', ['wait', 'alice/seen:1'], hostOf(2));
    expect(await as('admin', ['pause', 'node2'])).toEqual(succeeded('node2 is paused\n'));
    const table = rows(await as('admin', ['status']));
    expect(table.map(([store, state]) => [store, state])).toEqual([
      ['STORE', 'STATE'],
      ['central', 'ok'],
      ['node1', 'ok'],
      ['node2', 'paused'],
    ]);
    await push('alice/unseen', '1', 2);
    const { stdout } = await as('admin', ['status', 'node2']);
    expect(stdout).toContain('Nothing is parked.');
    expect(stdout).toMatch(/^manifest +alice\/unseen +\S+ +1 /m);
    expect(await as('admin', ['resume', 'node2'])).toEqual(succeeded('node2 is running\n'));
    expect(await as('admin', ['retry', 'node2'])).toEqual(succeeded('0 jobs are tried again\n'));
    const { deployment, queues } = JSON.parse((await as('admin', ['status', '--json'])).stdout);
    expect(deployment.registries[0]).toMatchObject({ name: 'central', store: 'central' });
    expect(queues).toMatchObject([{ store: 'node1' }, { store: 'node2', paused: false }]);
  });

  test('status --watch shows it again and again, until it is interrupted', async () => {
    const env = { BERTH_HOST: hostOf(), BERTH_USERNAME: 'admin', BERTH_PASSWORD: 'admin-dev' };
    const child = spawn(process.execPath, [PROGRAM, 'status', '--watch', '--json'], { env });
    const stores: unknown[] = [];
    for await (const line of createInterface(child.stdout)) {
      stores.push(JSON.parse(line).queues.map(({ store }: { store: string }) => store));
      if (stores.length === 2) child.kill('SIGINT');
    }
    expect(stores).toEqual([
      ['node1', 'node2'],
      ['node1', 'node2'],
    ]);
  });

  test('an organization becomes a mirror, is changed without its password, and is an ordinary one again', async () => {
    await as('admin', ['org', 'create', 'mirrored']);
    const env = { BERTH_HOST: hostOf(), BERTH_USERNAME: 'admin', BERTH_PASSWORD: 'admin-dev' };
    const set = ['mirror', 'set', 'mirrored', 'https://registry.example.com', '-u', 'ci', '--prefix', 'team'];
    expect(await berth([...set, '--password-stdin'], { env, stdin: 'of-the-upstream\n' })).toEqual(
      succeeded('mirrored is a mirror of https://registry.example.com, below team\n'),
    );
    const changed = await as('admin', [...set, '--ttl', '0', '--stale', 'forever', '--repository', 'a', 'b/*']);
    expect(changed).toMatchObject({ code: 0, stderr: '' });
    const { stdout: shown } = await as('admin', ['mirror', 'show', 'mirrored']);
    expect(shown).toMatch(/^Login: +ci$/m);
    expect(shown).toMatch(/^Repositories: +a b\/\*$/m);
    expect(rows(await as('admin', ['mirror', 'ls']))[1]).toEqual([
      'mirrored',
      'https://registry.example.com, below team',
      'a b/*',
      '0 s',
      'forever',
      'no',
    ]);
    const { stdout: json } = await as('admin', ['mirror', 'show', 'mirrored', '--json']);
    expect(JSON.parse(json)).toMatchObject({ username: 'ci', ttl_seconds: 0, stale_seconds: null });
    expect(shown + json).not.toContain('of-the-upstream');
    const { stdout: status } = await as('admin', ['mirror', 'status', 'mirrored']);
    expect(status).toMatch(/^Pending: +0$/m);
    expect(await as('admin', ['mirror', 'retry', 'mirrored'])).toEqual(succeeded('0 pushes are tried again\n'));
    const elsewhere = await as('admin', ['mirror', 'set', 'mirrored', 'https://evil.example', '-u', 'ci']);
    expect(elsewhere).toMatchObject({ code: 1, stderr: expect.stringContaining('password') });
    expect(await as('admin', ['mirror', 'rm', 'mirrored'])).toMatchObject({ code: 2 });
    expect(await as('admin', ['mirror', 'rm', 'mirrored', '--yes'])).toEqual(
      succeeded('removed the mirror mirrored\n'),
    );
    expect(await as('admin', ['mirror', 'show', 'mirrored'])).toMatchObject({ code: 1 });
    await as('admin', ['org', 'rm', 'mirrored', '--yes']);
  });

  test('an organization is created, limited and removed, with a credential that is shown once', async () => {
    expect(await as('admin', ['org', 'create', 'acme'])).toEqual(succeeded('created acme\n'));
    expect(rows(await as('admin', ['org', 'ls'])).map(([name]) => name)).toContain('acme');
    expect(await as('admin', ['quota', 'acme', '1.5GB'])).toEqual(succeeded('the quota of acme is 1.5 GB\n'));
    expect((await as('admin', ['quota', 'acme'])).stdout).toMatch(/^Quota: +1\.5 GB\nUsed: +0 B \(0 %\)\n/);
    expect((await as('admin', ['org', 'show', 'acme'])).stdout).toMatch(/^Tags: +0 of \d+$/m);
    expect(await as('admin', ['quota', 'acme', 'none'])).toEqual(succeeded('the quota of acme is none\n'));

    expect(await as('admin', ['repo', 'create', 'acme/app'])).toEqual(
      succeeded('created acme/app, which is private\n'),
    );
    expect(await as('admin', ['repo', 'set', 'acme/app', 'public'])).toEqual(succeeded('acme/app is public\n'));
    expect(rows(await as('admin', ['repo', 'ls', 'acme']))[1]?.slice(0, 2)).toEqual(['acme/app', 'public']);
    expect(await as('admin', ['repo', 'rm', 'acme/app'])).toMatchObject({ code: 2 });
    expect(await as('admin', ['repo', 'rm', 'acme/app', '--yes'])).toEqual(succeeded('removed acme/app\n'));
    const asJson = (name: string): Result => succeeded(`${JSON.stringify({ removed: name }, undefined, 2)}\n`);
    await as('admin', ['repo', 'create', 'acme/other']);
    expect(await as('admin', ['repo', 'rm', 'acme/other', '--yes', '--json'])).toEqual(asJson('acme/other'));

    const made = await as('admin', ['credential', 'create', 'ci', '--org', 'acme', '--rights', 'pull,push']);
    expect(made).toMatchObject({ code: 0, stderr: expect.stringContaining('shown only now') });
    const login = { BERTH_HOST: hostOf(), BERTH_USERNAME: 'ci', BERTH_PASSWORD: made.stdout.trim() };
    expect(await berth(['images', 'acme'], { env: login })).toMatchObject({ code: 0 });
    const file = join(registry.folder, 'secret.txt');
    const kept = ['credential', 'create', 'machines', '--kind', 'platform', '--secret-file', file, '--json'];
    const { stdout } = await as('admin', kept);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'machines', kind: 'platform' });
    const secret = await readFile(file, 'utf8');
    expect([secret.length > 20, stdout.includes(secret), (await stat(file)).mode & 0o777]).toEqual([
      true,
      false,
      0o600,
    ]);
    expect((await as('admin', kept)).stderr).toContain('does not exist yet');
    const other = join(registry.folder, 'other.txt');
    const again = ['credential', 'create', 'machines', '--kind', 'platform', '--secret-file', other];
    expect((await as('admin', again)).stderr).toContain('is taken');
    await expect(stat(other)).rejects.toThrow('ENOENT');

    const listed = rows(await as('admin', ['credential', 'ls', '--org', 'acme']));
    expect(listed[1]?.slice(0, 4)).toEqual(['ci', 'pull, push', 'acme/*', 'all']);
    expect(await as('admin', ['credential', 'rm', 'machines'])).toEqual(succeeded('removed machines\n'));
    expect(await as('admin', ['org', 'rm', 'acme'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--yes'),
    });
    expect(await as('admin', ['credential', 'rm', 'ci', '--org', 'acme', '--json'])).toEqual(asJson('ci'));
    expect(await as('admin', ['org', 'rm', 'acme', '--yes', '--json'])).toEqual(asJson('acme'));
  });

  test('the bootstrap secret acts as an administrator', async () => {
    const file = await readFile(join(registry.folder, 'secrets.json'), 'utf8');
    const env = { BERTH_HOST: hostOf(), BERTH_BOOTSTRAP_SECRET: JSON.parse(file).BOOTSTRAP_SECRET };
    expect(rows(await berth(['org', 'ls'], { env })).map(([name]) => name)).toContain('alice');
  });
});

describe('failures', () => {
  test.each([
    [['org', 'ls'], 'alice', /: only an administrator may do this$/m],
    [['org', 'show', 'nobody'], 'admin', /there is no organization nobody/],
    [['history', 'alice/app:1'], 'bob', /: this credential may not pull from alice\/app$/m],
    [['org', 'ls'], 'stranger', /does not accept the login: repeat berth login 127/],
  ])('%j as %s says what was wrong', async (args, user, message) => {
    expect(await as(user, args)).toEqual({ code: 1, stdout: '', stderr: expect.stringMatching(message) });
  });

  test('without a login, the error says how to log in', async () => {
    const { code, stderr } = await berth(['org', 'ls', '--host', hostOf()], {
      env: { DOCKER_CONFIG: registry.folder },
    });
    expect([code, stderr]).toEqual([1, expect.stringContaining(`run berth login ${hostOf()}, or set`)]);
  });
});
