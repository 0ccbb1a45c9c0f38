/**
 * A stand-in for `docker`, so that the docs' commands run on a machine without its daemon. It knows `login`, `pull`,
 * `tag` and `push`, and makes docker's requests. Images from other registries are made up. It keeps its images and
 * logins in the file that DOCKER_STATE names.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { comparePull, imageOf, type LocalImage, pushSteps } from './push.ts';

interface State {
  /** Blobs in base64. */
  readonly images: Record<string, { blobs: string[]; manifest: string; digest: string }>;
  /** The value of the Authorization header, by host. */
  readonly logins: Record<string, string>;
}

const path = process.env['DOCKER_STATE'] ?? '';
const state: State = JSON.parse(await readFile(path, 'utf8').catch(() => '{"images":{},"logins":{}}')) as State;

/** Returns the parts of a name such as `localhost:8787/alice/alpine`; undefined if it has no host. */
function referenceOf(name: string) {
  const [, host, repository, tag = 'latest'] = /^([^/]+:\d+)\/([^:]+)(?::(.+))?$/.exec(name) ?? [];
  return host === undefined || repository === undefined ? undefined : { host, repository, tag };
}

function callerAt(host: string) {
  const authorization = state.logins[host];
  if (authorization === undefined) throw new Error(`not logged in to ${host}`);
  return { url: `http://${host}`, authorization };
}

function image(name: string): LocalImage {
  const kept = state.images[name];
  if (kept === undefined) throw new Error(`there is no image ${name}: pull it first`);
  const bytes = (text: string) => Buffer.from(text, 'base64');
  return { blobs: kept.blobs.map(bytes), manifest: bytes(kept.manifest), digest: kept.digest };
}

function keep(name: string, { blobs, manifest, digest }: LocalImage): void {
  const text = (bytes: Buffer) => bytes.toString('base64');
  state.images[name] = { blobs: blobs.map(text), manifest: text(manifest), digest };
}

async function login(host: string, user: string, password: string): Promise<void> {
  const challenge = (await fetch(`http://${host}/v2/`)).headers.get('WWW-Authenticate') ?? '';
  const [, realm = '', service = ''] = /^Bearer realm="([^"]+)",service="([^"]+)"/.exec(challenge) ?? [];
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const answer = await fetch(`${realm}?service=${service}&account=${user}&client_id=docker&offline_token=true`, {
    headers: { Authorization: authorization },
  });
  if (!answer.ok) throw new Error(`login to ${host} failed: ${answer.status}`);
  state.logins[host] = authorization;
}

async function push(name: string): Promise<void> {
  const reference = referenceOf(name);
  if (reference === undefined) throw new Error(`${name} does not name a registry`);
  const { host, repository, tag } = reference;
  const caller = callerAt(host);
  for (const step of pushSteps(repository, tag, image(name))) await step.run(caller);
  // Here, the next command follows at once, without a person who types it. So this waits until the other registries
  // know the image.
  const [organization = '', ...rest] = repository.split('/');
  const repositories = `${caller.url}/api/organizations/${organization}/repositories`;
  const images = `${repositories}/${encodeURIComponent(rest.join('/'))}/images`;
  const waited = await fetch(`${images}/${tag}?wait=60`, { headers: { Authorization: caller.authorization } });
  if (!waited.ok) throw new Error(`other registries do not see the push of ${name}: ${waited.status}`);
}

/**
 * Pulls an image. From a Berth registry, it must be what was pushed under that name to any host, byte for byte. For
 * other registries, the image is made up.
 */
async function pull(name: string): Promise<void> {
  const reference = referenceOf(name);
  if (reference === undefined) {
    keep(name, imageOf(50_000));
    return;
  }
  const { host, repository, tag } = reference;
  const pushed = Object.keys(state.images).find((other) => referenceOf(other)?.repository === repository);
  if (pushed === undefined) throw new Error(`nothing was pushed as ${repository}`);
  await comparePull(callerAt(host), repository, tag, image(pushed));
  keep(name, image(pushed));
}

const [command, ...args] = process.argv.slice(2);
switch (`${command} ${args.length}`) {
  case 'login 5': {
    const [host = '', , user = '', , password = ''] = args;
    if (args[1] !== '-u' || args[3] !== '-p') throw new Error(`docker login ${args.join(' ')}`);
    await login(host, user, password);
    break;
  }
  case 'tag 2':
    keep(args[1] ?? '', image(args[0] ?? ''));
    break;
  case 'push 1':
    await push(args[0] ?? '');
    break;
  case 'pull 1':
    await pull(args[0] ?? '');
    break;
  default:
    throw new Error(`the stand-in for docker does not know the command ${process.argv.slice(2).join(' ')}`);
}
await writeFile(path, JSON.stringify(state));
