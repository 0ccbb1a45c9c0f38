/**
 * Logins as docker keeps them, in its `config.json` or in the credential helpers that it names, so that docker, skopeo,
 * crane and this program share them. https://docs.docker.com/reference/cli/docker/login/#credential-stores
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, realpath, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Credential } from '../../src/oci-client/credential.ts';
import { Failure } from './errors.ts';

/** Docker Hub's logins are kept under the address of its first API. */
const DOCKER_HUB = 'https://index.docker.io/v1/';
const DOCKER_HUB_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);
/** The user name under which a helper keeps an identity token, rather than a password. */
const IDENTITY_TOKEN_USER = '<token>';

interface Config {
  auths?: Record<string, Entry>;
  credHelpers?: Record<string, string>;
  credsStore?: string;
}

interface Entry {
  /** The base64 of `user:password`. */
  auth?: string;
  username?: string;
  password?: string;
  identitytoken?: string;
}

/**
 * Returns the credential for a host: from the environment (`BERTH_USERNAME` and `BERTH_PASSWORD`, for `BERTH_HOST`
 * alone), else from docker's configuration; undefined if there is none.
 * @param host `host[:port]`
 */
export async function credentialFor(host: string): Promise<Credential | undefined> {
  const { BERTH_HOST, BERTH_USERNAME: username, BERTH_PASSWORD: password } = process.env;
  if (BERTH_HOST === host && username !== undefined && password !== undefined) return { username, password };
  const config = await readConfig();
  const helper = helperFor(config, host);
  if (helper !== undefined) return readFromHelper(helper, host);
  const entry = keysOf(host).flatMap((key) => config.auths?.[key] ?? [])[0];
  return entry === undefined ? undefined : credentialIn(entry, host);
}

/** Keeps a credential as `docker login` does. @returns where: the name of the helper, or of the file */
export async function storeCredential(
  host: string,
  { username, password }: { readonly username: string; readonly password: string },
): Promise<string> {
  const config = await readConfig();
  const helper = helperFor(config, host);
  const key = keyOf(host);
  if (helper !== undefined) {
    await runHelper(helper, 'store', JSON.stringify({ ServerURL: key, Username: username, Secret: password }));
    // Docker lists a host that a helper has, without its secret.
    await writeConfig({ ...config, auths: { ...config.auths, [key]: {} } });
    return `docker-credential-${helper}`;
  }
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  await writeConfig({ ...config, auths: { ...config.auths, [key]: { auth } } });
  return configFile();
}

/** Forgets the credential of a host. @returns whether there was one */
export async function eraseCredential(host: string): Promise<boolean> {
  const config = await readConfig();
  const helper = helperFor(config, host);
  const keys = keysOf(host).filter((key) => config.auths?.[key] !== undefined);
  const had = keys.length > 0 || (helper !== undefined && (await readFromHelper(helper, host)) !== undefined);
  if (helper !== undefined && had) await runHelper(helper, 'erase', keyOf(host));
  if (keys.length > 0) {
    const auths = Object.fromEntries(Object.entries(config.auths ?? {}).filter(([key]) => !keys.includes(key)));
    await writeConfig({ ...config, auths });
  }
  return had;
}

function keyOf(host: string): string {
  return DOCKER_HUB_HOSTS.has(host) ? DOCKER_HUB : host;
}

/** Returns the keys that clients have used for a host, the usual one first. */
function keysOf(host: string): string[] {
  return [keyOf(host), `https://${host}`, `https://${host}/`, `https://${host}/v1/`, `https://${host}/v2/`];
}

function helperFor(config: Config, host: string): string | undefined {
  const helper = config.credHelpers?.[keyOf(host)] ?? config.credHelpers?.[host] ?? config.credsStore;
  return helper === '' ? undefined : helper;
}

function credentialIn(entry: Entry, host: string): Credential | undefined {
  if (entry.identitytoken !== undefined && entry.identitytoken !== '') return { identityToken: entry.identitytoken };
  if (entry.auth !== undefined && entry.auth !== '') {
    const decoded = Buffer.from(entry.auth, 'base64').toString();
    const colon = decoded.indexOf(':');
    if (colon < 1) throw new Failure(`the login for ${host} in ${configFile()} is damaged: log in again`);
    return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
  }
  const { username, password } = entry;
  return username === undefined || password === undefined ? undefined : { username, password };
}

async function readFromHelper(helper: string, host: string): Promise<Credential | undefined> {
  const answer = await runHelper(helper, 'get', keyOf(host));
  if (answer === undefined) return undefined;
  const { Username: username = '', Secret: secret = '' } = answerOf(helper, answer);
  return username === IDENTITY_TOKEN_USER ? { identityToken: secret } : { username, password: secret };
}

function answerOf(helper: string, answer: string): { readonly Username?: string; readonly Secret?: string } {
  try {
    return JSON.parse(answer) as { readonly Username?: string; readonly Secret?: string };
  } catch {
    // The parser's own message would quote a part of the secret.
    throw new Failure(`docker-credential-${helper} answered something that is not JSON: update it`);
  }
}

/**
 * Runs a helper. Secrets go through its standard input and output, never through its arguments.
 * @returns what it printed; undefined if it has no credential for the host
 */
async function runHelper(
  helper: string,
  action: 'get' | 'store' | 'erase',
  input: string,
): Promise<string | undefined> {
  const program = `docker-credential-${helper}`;
  const child = spawn(program, [action], { stdio: ['pipe', 'pipe', 'inherit'] });
  // A helper may end without reading.
  child.stdin.on('error', () => undefined).end(input);
  try {
    const [[code], output] = await Promise.all([once(child, 'close') as Promise<[number | null]>, text(child.stdout)]);
    if (code === 0) return output;
    if (action === 'get' && /credentials not found/i.test(output)) return undefined;
    throw new Failure(`${program} ${action} failed: ${output.trim()}`);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure(`${program} can't be run: install it, or correct ${configFile()}, which names it`, { cause });
  }
}

function configFile(): string {
  return join(process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'), 'config.json');
}

async function readConfig(): Promise<Config> {
  const file = configFile();
  let contents: string;
  try {
    contents = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new Failure(`${file} can't be read: correct its permissions`, { cause });
  }
  try {
    const config: unknown = JSON.parse(contents);
    if (typeof config === 'object' && config !== null) return config;
  } catch {
    // The parser's message would quote a part of the file, so the one below replaces it.
  }
  throw new Failure(`${file} is not a JSON object: correct it, or move it away`);
}

/** Writes the file whole or not at all, readable by the user alone. */
async function writeConfig(config: Config): Promise<void> {
  await mkdir(dirname(configFile()), { recursive: true, mode: 0o700 });
  // The file may be a link into a folder of settings.
  const file = await realpath(configFile()).catch(() => configFile());
  const partial = `${file}.${process.pid}`;
  await writeFile(partial, `${JSON.stringify(config, undefined, '\t')}\n`, { mode: 0o600 });
  await chmod(partial, 0o600);
  await rename(partial, file);
}
