import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { credentialFor, eraseCredential, storeCredential } from '../../cli/src/docker-config.ts';

let folder: string;
const alice = { username: 'alice', password: 'alice:dev' };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-docker-config-'));
  vi.stubEnv('DOCKER_CONFIG', folder);
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const config = async (): Promise<unknown> => JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
const configure = (document: unknown) => writeFile(join(folder, 'config.json'), JSON.stringify(document));

/** Installs a credential helper that keeps each secret in a file named after its host, and its calls in `calls`. */
async function installHelper(): Promise<void> {
  const file = join(folder, 'docker-credential-files');
  const script = `#!/bin/sh
input=$(cat); echo "$1" >>"${folder}/calls"
case $1 in
get) cat "${folder}/secret-$input" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
store) host=$(echo "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/'); echo "$input" >"${folder}/secret-$host" ;;
erase) rm "${folder}/secret-$input" ;;
esac
`;
  await writeFile(file, script);
  await chmod(file, 0o700);
}

test('a login is kept as docker keeps it, readable by the user alone', async () => {
  await configure({ currentContext: 'remote', auths: { 'ghcr.io': { auth: 'eDp5' } } });
  await storeCredential('registry.example:5000', alice);
  expect(await config()).toEqual({
    currentContext: 'remote',
    auths: { 'ghcr.io': { auth: 'eDp5' }, 'registry.example:5000': { auth: btoa('alice:alice:dev') } },
  });
  expect((await stat(join(folder, 'config.json'))).mode & 0o777).toBe(0o600);
  expect(await credentialFor('registry.example:5000')).toEqual(alice);
});

test('a login is read under each name that clients have given its host', async () => {
  await configure({ auths: { 'https://registry.example/v1/': { auth: btoa('alice:alice:dev') } } });
  expect(await credentialFor('registry.example')).toEqual(alice);
  expect(await credentialFor('other.example')).toBeUndefined();
});

test('Docker Hub has the name that docker gives it', async () => {
  await storeCredential('docker.io', alice);
  expect(await config()).toMatchObject({ auths: { 'https://index.docker.io/v1/': {} } });
  expect(await credentialFor('registry-1.docker.io')).toEqual(alice);
});

test('an identity token is not taken for a password', async () => {
  await configure({ auths: { 'registry.example': { auth: btoa('00000000:'), identitytoken: 'refresh' } } });
  expect(await credentialFor('registry.example')).toEqual({ identityToken: 'refresh' });
});

test('a logout forgets the login, and says if there was none', async () => {
  await storeCredential('registry.example', alice);
  expect(await eraseCredential('registry.example')).toBe(true);
  expect(await config()).toEqual({ auths: {} });
  expect(await eraseCredential('registry.example')).toBe(false);
});

test.each(['credsStore', 'credHelpers'])('a helper that %s names keeps the login', async (field) => {
  await installHelper();
  await configure({ [field]: field === 'credsStore' ? 'files' : { 'registry.example': 'files' } });
  expect(await credentialFor('registry.example')).toBeUndefined();
  await storeCredential('registry.example', alice);
  expect(JSON.stringify(await config())).not.toContain(btoa('alice:alice:dev'));
  expect(await credentialFor('registry.example')).toEqual(alice);
  expect(await eraseCredential('registry.example')).toBe(true);
  expect(await credentialFor('registry.example')).toBeUndefined();
});

test('a helper that is not installed is named, with what to do', async () => {
  await configure({ credsStore: 'absent' });
  await expect(credentialFor('registry.example')).rejects.toThrow(/docker-credential-absent can't be run: install it/);
});

test('a damaged configuration is refused without quoting it', async () => {
  await writeFile(join(folder, 'config.json'), '{"auths": {"registry.example": {"auth": "c2VjcmV0"}');
  const refused = await credentialFor('registry.example').catch(String);
  expect(refused).toContain('is not a JSON object');
  expect(refused).not.toContain('c2VjcmV0');
});

test("the environment comes before docker's configuration, for its own host alone", async () => {
  await storeCredential('registry.example', alice);
  vi.stubEnv('BERTH_HOST', 'registry.example');
  vi.stubEnv('BERTH_USERNAME', 'ci');
  vi.stubEnv('BERTH_PASSWORD', 'ci-dev');
  expect(await credentialFor('registry.example')).toEqual({ username: 'ci', password: 'ci-dev' });
  expect(await credentialFor('other.example')).toBeUndefined();
});
